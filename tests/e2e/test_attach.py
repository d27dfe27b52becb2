"""``rl attach`` and ``rl logs``: those who come later, and those who leave early."""

from __future__ import annotations

import os
import re
import signal
import subprocess

from tests.support.box import Box

ECHO = "echo up; while read line; do echo got $line; done"


def test_attach_gives_output_and_exit_code(box: Box) -> None:
    id_ = box.detached("-i", "busybox", "sh", "-c", "read line; echo out $line; echo err >&2; exit 4")
    result = box("attach", id_, stdin="x\n")
    assert result == (4, "out x\n", "err\n")


#: Prints until told to go on, so that a client which has read a line is known to be connected.
TICKING = "while ! [ -e /go ]; do echo tick; sleep 0.02; done; "


def test_attach_without_standard_input(box: Box) -> None:
    id_ = box.detached("-i", "busybox", "sh", "-c", f"{TICKING} cat")
    with box.start("attach", "--no-stdin", id_) as attached:
        assert attached.stdout
        assert attached.stdin
        assert attached.stdout.readline() == b"tick\n"
        attached.stdin.write(b"not for it\n")
        attached.stdin.close()
        box.ok("exec", id_, "touch", "/go")
        assert box("attach", id_, stdin="for it\n").stdout.endswith("for it\n")
        assert b"not for it" not in attached.stdout.read()


def test_two_attached_see_the_same(box: Box) -> None:
    id_ = box.detached("busybox", "sh", "-c", f"{TICKING} echo to both; exit 2")
    with box.start("attach", id_) as one, box.start("attach", id_) as other:
        for client in (one, other):
            assert client.stdout
            assert client.stdout.readline() == b"tick\n"
        box.ok("exec", id_, "touch", "/go")
        for client in (one, other):
            assert client.stdout
            assert client.stdout.read().endswith(b"to both\n")
    assert (one.returncode, other.returncode) == (2, 2)


def test_attach_to_a_stopped_container_is_refused(box: Box) -> None:
    id_ = box.detached("busybox", "true")
    box.ok("wait", id_)
    result = box("attach", id_)
    assert result.code == 1
    assert "cannot attach to a stopped container, start it first" in result.stderr


def test_a_client_that_is_killed_steals_nothing(box: Box) -> None:
    """The container goes on, its output is in the log, and others may connect."""
    command = ("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", f"{TICKING} echo end; exit 3")
    with box.start(*command) as first:
        assert first.stdout
        assert first.stdout.readline() == b"tick\n"
        first.send_signal(signal.SIGKILL)
    with box.start("attach", "one") as later:
        assert later.stdout
        assert later.stdout.readline() == b"tick\n"
        box.ok("exec", "one", "touch", "/go")
        assert later.stdout.read().endswith(b"end\n")
    assert later.returncode == 3
    assert box.ok("logs", "one").endswith("tick\nend")


def test_a_client_that_is_killed_ends_the_input_it_gave(box: Box) -> None:
    with box.start("run", "-i", "--name", "one", "--network", "none", "busybox", "sh", "-c", ECHO) as first:
        assert first.stdout
        assert first.stdin
        assert first.stdout.readline() == b"up\n"
        first.stdin.write(b"a line\n")
        first.stdin.flush()
        assert first.stdout.readline() == b"got a line\n"
        first.send_signal(signal.SIGKILL)
    assert box.ok("wait", "one") == "0"
    assert box.ok("logs", "one") == "up\ngot a line"


def test_a_client_that_is_stopped_steals_nothing_from_the_others(box: Box) -> None:
    """A further client that does not read is dropped when it is far behind, and told; the first one has all."""
    size = 40 * 65536
    script = f"{TICKING} head -c {size} /dev/zero; echo done >&2"
    with box.start("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script) as first:
        assert first.stdout
        assert first.stdout.readline() == b"tick\n"
        with box.start("attach", "one") as stopped:
            assert stopped.stdout
            assert stopped.stdout.readline() == b"tick\n"
            stopped.send_signal(signal.SIGSTOP)
            box.ok("exec", "one", "touch", "/go")
            out, err = first.communicate(timeout=20)
            stopped.send_signal(signal.SIGCONT)
            less, told = stopped.communicate(timeout=20)
    assert (first.returncode, out.count(b"\0"), err) == (0, size, b"done\n")
    assert less.count(b"\0") < size
    assert b"rl: this end of attach was too slow, and was left out of a part of the output; rl logs has it all" in told


def test_the_end_of_a_clients_input_is_the_end_of_the_containers(box: Box) -> None:
    id_ = box.detached("-i", "busybox", "cat")
    assert box("attach", id_, stdin="all of it").stdout == "all of it"


# ---- logs


def test_logs_keep_the_streams_apart(box: Box) -> None:
    id_ = box.detached("busybox", "sh", "-c", "echo out; echo err >&2")
    box.ok("wait", id_)
    assert box("logs", id_) == (0, "out\n", "err\n")


def test_logs_of_an_attached_container_are_kept_too(box: Box) -> None:
    box("run", "--name", "one", "--network", "none", "busybox", "echo", "kept")
    assert box.ok("logs", "one") == "kept"


def test_several_followers_see_everything_and_the_end(box: Box) -> None:
    id_ = box.detached("-i", "busybox", "sh", "-c", "echo first; read x; echo second; exit 3")
    followers = [box.start("logs", "-f", id_) for _ in range(3)]
    for follower in followers:
        assert follower.stdout
        assert follower.stdout.readline() == b"first\n"
    box("attach", id_, stdin="go\n")
    assert [follower.communicate(timeout=20)[0] for follower in followers] == [b"second\n"] * 3
    assert [follower.returncode for follower in followers] == [0, 0, 0]


def test_followers_lose_nothing_when_the_log_is_rotated(box: Box) -> None:
    """The container writes more than one file holds; the one who leads reads no faster than the follower."""
    numbers = range(1_000_000, 3_000_000)
    script = f"echo up; read x; seq {numbers[0]} {numbers[-1]}; echo end >&2"
    id_ = box.detached("-i", "busybox", "sh", "-c", script)
    with box.start("logs", "-f", id_) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"up\n"
        with box.start("attach", id_, stdout=subprocess.DEVNULL) as starter:
            starter.communicate(b"go\n", timeout=60)
        out, err = follower.communicate(timeout=60)
    assert os.path.exists(f"{box.home.data}/containers/{id_}/log/1"), "nothing was rotated"
    assert out == b"".join(b"%d\n" % n for n in numbers)
    assert err == b"end\n"


def test_tail_shows_the_last_lines(box: Box) -> None:
    id_ = box.detached("busybox", "sh", "-c", "seq 1 5; printf 6")
    box.ok("wait", id_)
    assert box.ok("logs", "--tail", "2", id_) == "5\n6"
    assert box.ok("logs", "-n", "0", id_) == ""
    assert box.ok("logs", "--tail", "all", id_).split() == ["1", "2", "3", "4", "5", "6"]
    assert box.ok("logs", "--tail", "100", id_).split() == ["1", "2", "3", "4", "5", "6"]


def test_timestamps_are_rfc_3339_with_nine_digits(box: Box) -> None:
    id_ = box.detached("busybox", "sh", "-c", "echo one; echo two")
    box.ok("wait", id_)
    for line, word in zip(box.ok("logs", "-t", id_).splitlines(), ("one", "two"), strict=True):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z " + word, line)


def test_since_and_until_choose_by_time(box: Box) -> None:
    id_ = box.detached("-i", "busybox", "sh", "-c", "echo early; read x; echo late")
    with box.start("logs", "-f", id_) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"early\n"
        box("attach", id_, stdin="go\n")
    late = box.ok("logs", "-t", id_).splitlines()[1].split()[0]
    assert box.ok("logs", "--since", late, id_) == "late"
    assert box.ok("logs", "--until", late, id_).splitlines()[0] == "early"
    assert box.ok("logs", "--since", "1h", id_).split() == ["early", "late"]


def test_logs_of_an_unknown_container(box: Box) -> None:
    result = box("logs", "nosuch")
    assert result.code == 1
    assert "No such container: nosuch" in result.stderr


def test_a_reader_that_goes_away_ends_the_logs_quietly(box: Box) -> None:
    id_ = box.detached("busybox", "seq", "1", "200000")
    box.ok("wait", id_)
    with box.start("logs", id_) as reader:
        assert reader.stdout
        assert reader.stderr
        assert reader.stdout.readline() == b"1\n"
        reader.stdout.close()
        assert reader.stderr.read() == b""


def test_a_tail_that_is_followed_goes_on_with_what_comes(box: Box) -> None:
    id_ = box.detached("-i", "busybox", "sh", "-c", "echo one; echo two; read x; echo three")
    with box.start("logs", "-f", "--tail", "1", id_) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"two\n"
        box("attach", id_, stdin="go\n")
        assert follower.stdout.read() == b"three\n"


def test_a_follower_sees_the_end_of_a_container_that_is_removed(box: Box) -> None:
    id_ = box.detached("--rm", "-i", "busybox", "sh", "-c", "echo one; read x; seq 1 20000")
    with box.start("logs", "-f", id_) as follower:
        assert follower.stdout
        assert follower.stderr
        assert follower.stdout.readline() == b"one\n"
        box("attach", id_, stdin="go\n")
        assert follower.stdout.read().endswith(b"\n20000\n")
        assert follower.stderr.read() == b""
    assert follower.returncode == 0
