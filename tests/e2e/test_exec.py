"""``rl exec``: a further command in a running container."""

from __future__ import annotations

import os
import time

import pytest

from tests.support.box import Box


def test_streams_and_exit_code_are_the_commands(box: Box) -> None:
    id_ = box.asleep()
    assert box("exec", id_, "sh", "-c", "echo out; echo err >&2; exit 5") == (5, "out\n", "err\n")


def test_standard_input_is_fed_if_asked_for(box: Box) -> None:
    id_ = box.asleep()
    assert box.ok("exec", "-i", id_, "cat", stdin="through") == "through"
    assert box.ok("exec", id_, "cat", stdin="not this") == ""


def test_it_is_in_the_containers_namespaces(box: Box) -> None:
    id_ = box.asleep("--hostname", "inside")
    assert box.ok("exec", id_, "hostname") == "inside"
    listed = box.ok("exec", id_, "ps")
    assert "trap exit TERM" in listed
    assert len([line for line in listed.splitlines() if line.strip().startswith("1 ")]) == 1
    kinds = "cgroup ipc mnt net pid user uts"
    same = "[ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ]"
    assert box.ok("exec", id_, "sh", "-c", f"for n in {kinds}; do {same} && echo $n; done").split() == kinds.split()


def test_the_environment_is_the_containers_with_changes(box: Box) -> None:
    id_ = box.asleep("-e", "A=1", "-e", "B=2")
    found = box.ok("exec", "-e", "B=3", "-e", "C=4", id_, "env").splitlines()
    assert {"A=1", "B=3", "C=4", "HOME=/root"} <= set(found)


def test_the_working_directory_is_the_containers_unless_given(box: Box) -> None:
    id_ = box.asleep("-w", "/tmp")
    assert box.ok("exec", id_, "pwd") == "/tmp"
    assert box.ok("exec", "-w", "/bin", id_, "pwd") == "/bin"


def test_a_missing_working_directory_is_an_error(box: Box) -> None:
    result = box("exec", "-w", "/missing", box.asleep(), "pwd")
    assert result.code in (126, 127)
    assert "/missing" in result.stderr
    assert "Traceback" not in result.stderr


def test_another_user_has_its_home_and_groups(box: Box, needs_many_ids: None) -> None:
    id_ = box.asleep()
    assert box.ok("exec", "-u", "app", id_, "sh", "-c", "id; echo $HOME").splitlines() == [
        "uid=1000(app) gid=1000(app) groups=50(staff),1000(app)",
        "/home/app",
    ]


def test_an_unknown_user_is_refused(box: Box) -> None:
    id_ = box.asleep()
    result = box("exec", "-u", "nosuch", id_, "true")
    assert "unable to find user nosuch: no matching entries in passwd file" in result.stderr
    assert result.code != 0


def test_a_user_that_is_not_mapped_is_refused_with_the_reason(box: Box) -> None:
    id_ = box.asleep()
    result = box("exec", "-u", "2000000", id_, "true")
    assert result.code != 0
    assert "does not exist in this container: its id map has" in result.stderr


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/nosuch", 127, "no such file or directory"),
        ("/etc", 126, "permission denied"),
        ("/etc/passwd", 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_be_executed(box: Box, command: str, code: int, message: str) -> None:
    result = box("exec", box.asleep(), command)
    assert result.code == code
    assert message in result.stderr


def test_a_signal_gives_128_and_its_number(box: Box) -> None:
    id_ = box.asleep()
    assert box("exec", id_, "sh", "-c", "kill -9 $$").code == 137
    assert box("exec", id_, "sh", "-c", "kill $$").code == 143


def test_detached_it_prints_nothing_and_goes_on(box: Box) -> None:
    id_ = box.asleep()
    box.ok("exec", id_, "mkfifo", "/fifo")
    assert box("exec", "-d", id_, "sh", "-c", "echo done > /fifo") == (0, "", "")
    assert box.ok("exec", id_, "cat", "/fifo") == "done"


def test_detached_a_missing_command_is_still_an_error(box: Box) -> None:
    result = box("exec", "-d", box.asleep(), "nosuch")
    assert result.code == 127


def test_in_a_stopped_container_it_is_refused(box: Box) -> None:
    id_ = box.detached("--name", "one", "busybox", "true")
    box.ok("wait", id_)
    result = box("exec", "one", "true")
    assert result.code == 1
    assert f"container {id_} is not running" in result.stderr


def test_in_an_unknown_container_it_is_refused(box: Box) -> None:
    result = box("exec", "nosuch", "true")
    assert result.code == 1
    assert "No such container: nosuch" in result.stderr


def test_the_command_ends_with_its_container(box: Box) -> None:
    id_ = box.asleep()
    running = box.start("exec", id_, "sh", "-c", "echo up; exec sleep 1000")
    assert running.stdout
    assert running.stdout.readline() == b"up\n"
    box.ok("kill", id_)
    running.communicate(timeout=20)
    assert running.returncode == 137


def test_the_command_outlives_its_client(box: Box) -> None:
    id_ = box.asleep()
    running = box.start("exec", id_, "sh", "-c", "echo up; exec sleep 1000")
    with running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        running.kill()
    assert "sleep 1000" in box.ok("exec", id_, "ps")


def test_many_at_once(box: Box) -> None:
    id_ = box.asleep()
    started = [box.start("exec", id_, "echo", str(n)) for n in range(12)]
    printed = [process.communicate(timeout=30)[0] for process in started]
    assert printed == [f"{n}\n".encode() for n in range(12)]
    assert [process.returncode for process in started] == [0] * 12


def test_orphans_of_a_command_are_reaped(box: Box) -> None:
    """The command's children become process 1's, or with --init are reaped by it."""
    id_ = box.asleep("--init")
    box.ok("exec", id_, "sh", "-c", "(sh -c 'exit 0' &) ; true")
    deadline = time.monotonic() + 10
    while "Z" in box.ok("exec", id_, "sh", "-c", "cat /proc/[0-9]*/stat | cut -d' ' -f3"):
        assert time.monotonic() < deadline, "a zombie is left"


def test_it_has_the_containers_capabilities_and_filter(box: Box) -> None:
    id_ = box.asleep("--cap-drop", "ALL")
    status = box.ok("exec", id_, "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status


def test_privileged_gives_all_capabilities(box: Box) -> None:
    id_ = box.asleep("--cap-drop", "ALL")
    status = box.ok("exec", "--privileged", id_, "cat", "/proc/self/status")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1]
    assert int(effective, 16) & (1 << 21)  # CAP_SYS_ADMIN


def test_descriptors_do_not_leak_into_it(box: Box) -> None:
    assert box.ok("exec", box.asleep(), "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


def test_the_interpreter_is_out_of_reach_while_joining(box: Box) -> None:
    """A process that joins must not be opened through /proc/PID/exe from inside (CVE-2019-5736)."""
    script = """
while :; do
    for exe in /proc/[0-9]*/exe; do
        target=$(readlink $exe) || continue
        case $target in /bin/*) ;; *) echo "$exe is $target"; exit 1;; esac
    done
done"""
    id_ = box.detached("busybox", "sh", "-c", script)
    started = [box.start("exec", id_, "true") for _ in range(8)]
    assert [process.wait(30) for process in started] == [0] * 8
    assert box.state(id_) == "running", box.ok("logs", id_)
    for process in started:
        process.communicate()
    assert os.path.exists(f"/proc/{box.inspect(id_)['State']['Pid']}")
