"""Signals to ``rl``, and from it to the container."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.support.box import Box

TRAPS = """
for s in HUP INT TERM USR1 USR2; do trap "echo $s" $s; done
trap 'exit 5' QUIT
echo up
while :; do sleep 1000 & wait; done"""


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "USR1", "USR2"])
def test_signals_are_passed_on(box: Box, name: str) -> None:
    with box.start("run", "--rm", "--network", "none", "busybox", "sh", "-c", TRAPS) as running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        running.send_signal(getattr(signal, f"SIG{name}"))
        assert running.stdout.readline() == f"{name}\n".encode()
        running.send_signal(signal.SIGQUIT)
    assert running.returncode == 5


def test_a_third_interrupt_gives_up_on_the_container(box: Box) -> None:
    command = ("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", TRAPS)
    with box.start(*command) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline() == b"up\n"
        for expected in (b"INT\n", b"INT\n", b""):
            running.send_signal(signal.SIGINT)
            if expected:
                assert running.stdout.readline() == expected
        assert b"got 3 SIGTERM/SIGINTs, forcefully exiting" in running.stderr.read()
    assert running.returncode == 1
    assert box.state("one") == "running"


def test_without_sig_proxy_the_client_dies_alone(box: Box) -> None:
    command = ("run", "--sig-proxy=false", "--name", "one", "--network", "none", "busybox", "sh", "-c", TRAPS)
    with box.start(*command) as running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGTERM)
    assert running.returncode in (-signal.SIGTERM, 143)
    assert box.state("one") == "running"


def test_a_signal_that_kills_gives_128_and_its_number(box: Box) -> None:
    with box.start(
        "run", "--init", "--rm", "--network", "none", "busybox", "sh", "-c", "echo up; exec sleep 1000"
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGTERM)
    assert running.returncode == 143


def test_init_passes_signals_on_and_takes_the_exit_code(box: Box) -> None:
    with box.start("run", "--init", "--rm", "--network", "none", "busybox", "sh", "-c", TRAPS) as running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGUSR1)
        assert running.stdout.readline() == b"USR1\n"
        running.send_signal(signal.SIGQUIT)
    assert running.returncode == 5


def test_init_reaps_orphans(box: Box) -> None:
    # The inner shell ends before its child, which becomes process 1's and is gone soon after its end.
    script = (
        "sh -c '(sh -c \"echo \\$\\$ > /pid; exit 0\" &) ; exit 0'; "
        "while ! [ -s /pid ]; do :; done; while [ -e /proc/$(cat /pid) ]; do :; done; echo reaped"
    )
    assert box.out("--init", "busybox", "sh", "-c", script) == "reaped"


def test_without_init_the_command_is_process_1(box: Box) -> None:
    assert box.out("busybox", "sh", "-c", "echo $$") == "1"
    assert box.out("--init", "busybox", "sh", "-c", "echo $$") != "1"


def test_nohup_protects_the_client_from_a_hang_up(box: Box) -> None:
    command = ("nohup", *box.argv, "run", "--rm", "--network", "none", "busybox", "sh", "-c", TRAPS)
    with subprocess.Popen(
        command,
        env=box.home.env,
        cwd=box.home.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGUSR1)
        assert running.stdout.readline() == b"USR1\n"  # and no HUP before it
        running.send_signal(signal.SIGQUIT)
    assert running.returncode == 5


def test_the_command_starts_with_the_default_dispositions(box: Box) -> None:
    """Python ignores SIGPIPE and SIGXFSZ; a container must not inherit that."""
    status = box.out("busybox", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith(("SigIgn", "SigBlk")))
    assert int(fields["SigIgn"], 16) == 0
    assert int(fields["SigBlk"], 16) == 0


@pytest.mark.parametrize("verb", ["exec", "run --init"])
def test_the_same_goes_for(box: Box, verb: str) -> None:
    if verb == "exec":
        status = box.ok("exec", box.asleep(), "cat", "/proc/self/status")
    else:
        status = box.out("--init", "busybox", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith(("SigIgn", "SigBlk")))
    assert int(fields["SigIgn"], 16) == 0
    assert int(fields["SigBlk"], 16) == 0
