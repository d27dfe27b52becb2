"""Containers with a terminal, at a terminal: what a person types and sees."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.box import Box
from tests.support.screen import Screen

Show = Callable[..., Screen]
RUN = ("run", "--rm", "-it", "--network", "none", "-e", "PS1=$ ", "busybox")
#: A command of the shell's that tells when it has the terminal.
STARTED = "sh -c 'echo started; exec sleep 1000'"


def test_a_shell_echoes_answers_and_ends(screen: Show) -> None:
    shown = screen(*RUN)
    shown.expect("$ ")
    shown.line("echo a$((40+2))b; tty; exit 7")
    shown.expect("exit 7\r\n")  # the echo
    shown.expect("a42b\r\n/dev/pts/0\r\n")
    assert shown.wait() == 7


def test_the_terminal_is_raw_meanwhile_and_as_before_afterwards(screen: Show) -> None:
    shown = screen(*RUN)
    shown.expect("$ ")
    shown.until_raw()
    shown.type("\x04")  # Ctrl-D ends the shell
    assert shown.wait() == 0
    assert shown.settings() == shown.before


def test_the_terminal_is_as_before_after_a_failure(screen: Show) -> None:
    shown = screen("run", "--rm", "-it", "--network", "none", "busybox", "nosuch")
    assert shown.wait() == 127
    assert b"executable file not found" in shown.seen
    assert shown.settings() == shown.before


def test_the_size_is_known_from_the_start_and_follows(screen: Show) -> None:
    shown = screen(
        *RUN, "sh", "-c", "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.1; done", rows=33, columns=99
    )
    shown.expect("33 99")
    shown.resize(44, 111)
    shown.expect("44 111")
    assert shown.wait() == 0


def test_ctrl_c_reaches_the_command_not_rl(screen: Show) -> None:
    shown = screen(
        *RUN, "sh", "-c", "trap 'echo interrupted; exit 5' INT; echo up; while :; do sleep 1000 & wait; done"
    )
    shown.expect("up")
    shown.type("\x03")
    shown.expect("interrupted")
    assert shown.wait() == 5


def test_ctrl_c_ends_a_child_of_the_shell(screen: Show) -> None:
    shown = screen(*RUN)
    shown.expect("$ ")
    shown.line(STARTED)
    shown.expect("\r\nstarted")
    shown.type("\x03")
    shown.expect("$ ")
    shown.line("echo code $?; exit 0")
    shown.expect("code 130")
    assert shown.wait() == 0


def test_ctrl_z_stops_a_job_of_the_containers_shell(screen: Show) -> None:
    shown = screen(*RUN)
    shown.expect("$ ")
    shown.line(STARTED)
    shown.expect("\r\nstarted")
    shown.type("\x1a")
    shown.expect("Stopped")
    shown.expect("$ ")
    shown.line("exec true")  # as process 1, so that the job ends too
    assert shown.wait() == 0


def test_there_is_no_warning_about_job_control(screen: Show) -> None:
    shown = screen(*RUN)
    assert "job control" not in shown.expect("$ ")
    shown.line("exit")
    assert shown.wait() == 0


def test_the_console_and_the_tty_are_the_terminal(screen: Show) -> None:
    script = "test -c /dev/console; stat -c %t:%T /dev/console $(tty); echo there > /dev/console; echo too > /dev/tty"
    shown = screen(*RUN, "sh", "-c", script)
    shown.expect("88:0\r\n88:0\r\nthere\r\ntoo\r\n")
    assert shown.wait() == 0


def test_standard_error_goes_to_the_terminal_too(screen: Show) -> None:
    shown = screen(*RUN, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo three >&2")
    shown.expect("three\r\n")
    assert shown.wait() == 0


def test_a_user_may_reopen_the_terminal(screen: Show) -> None:
    shown = screen("run", "--rm", "-it", "--network", "none", "-u", "app", "busybox", "sh", "-c", "echo mine > $(tty)")
    shown.expect("mine")
    assert shown.wait() == 0


@pytest.mark.parametrize("verb", ["run", "exec", "start"])
def test_a_terminal_needs_one(box: Box, verb: str) -> None:
    id_ = box.asleep() if verb == "exec" else ""
    if verb == "start":
        id_ = box.ok("create", "-it", "--network", "none", "busybox")
    command = {"run": RUN, "exec": ("exec", "-it", id_, "sh"), "start": ("start", "-ai", id_)}[verb]
    result = box(*command)
    assert result.code == 1
    assert "the input device is not a TTY" in result.stderr


def test_without_i_a_terminal_works_in_a_pipe(box: Box) -> None:
    assert box.run("-t", "busybox", "sh", "-c", "tty; echo err >&2") == (0, "/dev/pts/0\r\nerr\r\n", "")


# ---- detaching


@pytest.mark.parametrize("pieces", [(b"\x10\x11",), (b"\x10", b"\x11")], ids=["at once", "in two reads"])
def test_the_detach_keys_leave_it_running(box: Box, screen: Show, pieces: tuple[bytes, ...]) -> None:
    shown = screen("run", "-it", "--name", "one", "--network", "none", "-e", "PS1=$ ", "busybox")
    shown.expect("$ ")
    shown.line("x=kept; echo ready")
    shown.expect("ready\r\n$ ")
    for piece in pieces:
        shown.type(piece)
    assert shown.wait() == 0
    assert shown.settings() == shown.before
    assert box.state("one") == "running"

    again = screen("attach", "one")
    again.until_raw()
    again.line("echo $x")
    again.expect("kept")
    again.line("exit 3")
    assert again.wait() == 3


def test_half_of_the_detach_keys_is_passed_on(screen: Show) -> None:
    shown = screen(
        "run",
        "--rm",
        "-it",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "stty raw -echo; echo up; dd bs=1 count=3 2>/dev/null | od -An -c",
    )
    shown.expect("up")
    shown.type(b"\x10ab")
    shown.expect("020   a   b")
    assert shown.wait() == 0


def test_other_detach_keys(box: Box, screen: Show) -> None:
    shown = screen(
        "run", "-it", "--name", "one", "--detach-keys", "ctrl-x,x", "--network", "none", "-e", "PS1=$ ", "busybox"
    )
    shown.expect("$ ")
    shown.type(b"\x18x")
    assert shown.wait() == 0
    assert box.state("one") == "running"


def test_detach_keys_that_are_none_are_refused(box: Box) -> None:
    result = box.run("-t", "--detach-keys", "ctrl-ä", "busybox", "true")
    assert result.code == 125
    assert "detach keys" in result.stderr
    assert box.left_over() == []


# ---- exec


def test_exec_with_a_terminal(box: Box, screen: Show) -> None:
    id_ = box.asleep("-e", "PS1=$ ")
    shown = screen("exec", "-it", id_, "sh", rows=21, columns=87)
    shown.expect("$ ")
    shown.until_raw()
    shown.line("tty; stty size; echo $TERM; exit 9")
    shown.expect("/dev/pts/0\r\n21 87\r\nxterm")
    assert shown.wait() == 9
    assert shown.settings() == shown.before


def test_exec_follows_the_size(box: Box, screen: Show) -> None:
    shown = screen(
        "exec", "-it", box.asleep(), "sh", "-c", "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.1; done"
    )
    shown.expect("up")
    shown.resize(44, 111)
    shown.expect("44 111")
    assert shown.wait() == 0


def test_exec_can_be_detached(box: Box, screen: Show) -> None:
    id_ = box.asleep("-e", "PS1=$ ")
    shown = screen("exec", "-it", id_, "sh")
    shown.expect("$ ")
    shown.type(b"\x10\x11")
    assert shown.wait() == 0
    assert box.state(id_) == "running"


# ---- the terminal goes away


def test_a_terminal_that_is_closed_takes_only_the_client_with_it(box: Box, screen: Show) -> None:
    shown = screen("run", "-it", "--name", "one", "--network", "none", "-e", "PS1=$ ", "busybox")
    shown.expect("$ ")
    client = os.pidfd_open(shown.pid)
    shown.hang_up()
    import select

    assert select.select([client], [], [], 20)[0], "the client lives on without its terminal"
    os.close(client)
    assert box.state("one") == "running"
    assert box.ok("exec", "one", "echo", "well") == "well"


def test_a_client_that_is_stopped_and_continued_is_raw_again(screen: Show) -> None:
    shown = screen(*RUN)
    shown.expect("$ ")
    shown.until_raw()
    os.kill(shown.pid, signal.SIGSTOP)
    os.waitpid(shown.pid, os.WUNTRACED)
    import termios

    termios.tcsetattr(shown._slave, termios.TCSANOW, shown.before)  # as a shell does that gets the terminal back
    os.kill(shown.pid, signal.SIGCONT)
    shown.until_raw()
    shown.line("echo on; exit")
    shown.expect("on\r\n")
    assert shown.wait() == 0


def test_a_created_container_with_a_terminal_is_started_attached(box: Box, screen: Show) -> None:
    id_ = box.ok("create", "-it", "--network", "none", "-e", "PS1=$ ", "busybox")
    shown = screen("start", "-ai", id_, rows=31, columns=77)
    shown.expect("$ ")
    shown.line("stty size; exit 4")
    shown.expect("31 77")
    assert shown.wait() == 4


def test_a_detached_container_with_a_terminal_waits_for_its_reader(box: Box, screen: Show) -> None:
    id_ = box.detached("-it", "-e", "PS1=$ ", "busybox")
    shown = screen("attach", id_)
    shown.until_raw()
    shown.line("echo a$((1+1)); exit")
    shown.expect("a2")
    assert shown.wait() == 0


def test_the_log_of_a_terminal_is_what_it_showed(box: Box) -> None:
    id_ = box.detached("-t", "busybox", "sh", "-c", "echo out; echo err >&2")
    box.ok("wait", id_)
    result = box("logs", id_)
    assert (result.stdout, result.stderr) == ("out\r\nerr\r\n", "")


def test_init_leaves_the_terminal_to_the_command(screen: Show) -> None:
    """Keys reach the command's process group, and its shell has job control."""
    shown = screen("run", "--init", "--rm", "-it", "--network", "none", "-e", "PS1=$ ", "busybox")
    assert "job control" not in shown.expect("$ ")
    shown.line(STARTED)
    shown.expect("\r\nstarted")
    shown.type("\x03")
    shown.expect("$ ")
    shown.line("echo code $?; exit 6")
    shown.expect("code 130")
    assert shown.wait() == 6
