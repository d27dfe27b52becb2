"""Bytes: all of them, in order, however slow their readers and however they are connected."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from typing import IO

import pytest

from tests.support.box import Box

#: A pattern that repeats, so that a lost, doubled or moved piece changes the hash.
_BLOCK = bytes(range(256)) * 4096


def digest_of_pattern(size: int) -> str:
    found = hashlib.blake2b()
    whole, rest = divmod(size, len(_BLOCK))
    for _ in range(whole):
        found.update(_BLOCK)
    found.update(_BLOCK[:rest])
    return found.hexdigest()


class SlowReader(threading.Thread):
    """Reads a pipe in pieces that the writer does not expect, and now and then not at all."""

    def __init__(self, pipe: IO[bytes], piece: int) -> None:
        super().__init__()
        self._pipe = pipe
        self._piece = piece
        self._hash = hashlib.blake2b()
        self.size = 0
        self.start()

    def run(self) -> None:
        fd = self._pipe.fileno()
        pause = threading.Event()
        reads = 0
        while data := os.read(fd, self._piece):
            self._hash.update(data)
            self.size += len(data)
            reads += 1
            if reads % 4096 == 0:
                pause.wait(0.01)

    def finish(self) -> tuple[int, str]:
        self.join()
        return self.size, self._hash.hexdigest()


@pytest.mark.timeout(180)
def test_a_gigabyte_through_each_stream_at_once_into_slow_readers(box: Box) -> None:
    size = 1 << 30
    produce = f"i=0; while [ $i -lt {size // len(_BLOCK)} ]; do cat /block; i=$((i+1)); done"
    script = f"head -c {len(_BLOCK)} > /block; ({produce}) & ({produce}) >&2; wait"
    with box.start("run", "-i", "--rm", "--network", "none", "busybox", "sh", "-c", script) as running:
        assert running.stdin
        assert running.stdout
        assert running.stderr
        readers = (SlowReader(running.stdout, 50_000), SlowReader(running.stderr, 70_001))
        running.stdin.write(_BLOCK)
        running.stdin.close()
        found = [reader.finish() for reader in readers]
    assert running.returncode == 0
    assert found == [(size, digest_of_pattern(size))] * 2


def test_a_large_standard_input_arrives_whole(box: Box) -> None:
    size = 64 << 20
    with box.start("run", "-i", "--rm", "--network", "none", "busybox", "cat") as running:
        assert running.stdin
        assert running.stdout
        reader = SlowReader(running.stdout, 1 << 16)
        for _ in range(size // len(_BLOCK)):
            running.stdin.write(_BLOCK)
        running.stdin.close()
        assert reader.finish() == (size, digest_of_pattern(size))


def test_exec_moves_as_much_both_ways(box: Box) -> None:
    size = 64 << 20
    with box.start("exec", "-i", box.asleep(), "sh", "-c", "tee /dev/stderr") as running:
        assert running.stdin
        assert running.stdout
        assert running.stderr
        readers = (SlowReader(running.stdout, 1 << 16), SlowReader(running.stderr, 40_000))
        for _ in range(size // len(_BLOCK)):
            running.stdin.write(_BLOCK)
        running.stdin.close()
        assert [reader.finish() for reader in readers] == [(size, digest_of_pattern(size))] * 2


def shell(box: Box, line: str, **options: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the host's shell in which ``$rl`` is our command."""
    env = {**box.home.env, "rl": " ".join(box.argv), **options}
    return subprocess.run(
        ("sh", "-c", line),
        env=env,
        cwd=box.home.path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_a_reader_that_has_enough_ends_the_container(box: Box) -> None:
    # Process 1 does not die of SIGPIPE but sees the error, as it would under Docker; yes(1) tells of it.
    done = shell(box, "$rl run --rm --network none busybox yes 2>/dev/null | head -n 3")
    assert (done.stdout, done.stderr) == (b"y\ny\ny\n", b"")


def test_a_reader_of_standard_error_that_has_enough(box: Box) -> None:
    done = shell(box, "$rl run --rm --network none busybox sh -c 'yes >&2; echo out' 2>&1 >/dev/null | head -n 1")
    assert done.stdout == b"y\n"


def test_exec_into_a_reader_that_has_enough(box: Box) -> None:
    done = shell(box, f"$rl exec {box.asleep()} yes | head -n 1")
    assert (done.stdout, done.stderr) == (b"y\n", b"")


def test_a_detached_container_gives_the_shell_back_at_once(box: Box) -> None:
    """Command substitution waits for everybody who has the pipe."""
    done = shell(box, "x=$($rl run -d --network none busybox sleep 1000 2>&1); echo $x; $rl rm -f $x")
    first, second = done.stdout.split()
    assert first == second


def test_every_descriptor_may_be_closed(box: Box) -> None:
    done = shell(box, "$rl run --rm --network none busybox echo hi <&-")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert shell(box, "$rl run --rm --network none busybox sh -c 'exit 3' >&-").returncode == 3
    assert shell(box, "$rl run --rm --network none busybox sh -c 'exit 4' <&- >&- 2>&-").returncode == 4
    done = shell(box, "$rl run --rm -i --network none busybox cat <&-")
    assert (done.returncode, done.stdout) == (0, b"")


def test_output_goes_to_a_file(box: Box) -> None:
    done = shell(box, "$rl run --rm --network none busybox sh -c 'echo a; echo b >&2' > out 2>&1; cat out")
    assert sorted(done.stdout.split()) == [b"a", b"b"]


def test_output_is_appended_to_a_file(box: Box) -> None:
    done = shell(box, "echo first > app; $rl run --rm --network none busybox echo second >> app; cat app")
    assert done.stdout == b"first\nsecond\n"


def test_a_full_device_is_an_error_of_its_own(box: Box) -> None:
    done = shell(box, "$rl run --rm --network none busybox echo hi > /dev/full")
    assert done.returncode == 125
    assert b"cannot write to standard output: no space left on device" in done.stderr


def test_input_from_a_file(box: Box) -> None:
    done = shell(box, "echo content > in; $rl run --rm -i --network none busybox cat < in")
    assert done.stdout == b"content\n"


def test_input_that_never_ends_does_not_hold_the_end_up(box: Box) -> None:
    with box.start("run", "-i", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 6") as running:
        assert running.wait(20) == 6  # our end of its standard input is still open


def test_input_is_not_read_unless_asked_for(box: Box) -> None:
    done = shell(box, "printf 'one\\ntwo\\n' | { $rl run --rm --network none busybox true; cat; }")
    assert done.stdout == b"one\ntwo\n"


def test_the_callers_pipes_keep_their_flags(box: Box) -> None:
    """O_NONBLOCK on a shared open file description would reach the shell and its other children."""
    read, write = os.pipe()
    try:
        with box.start("run", "-i", "--rm", "--network", "none", "busybox", "cat", stdin=read) as running:
            os.write(write, b"x")
            assert running.stdout
            assert running.stdout.read(1) == b"x"
            assert os.get_blocking(read)
            assert os.get_blocking(running.stdout.fileno())
            os.close(write)
            write = -1
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def test_nonblocking_pipes_of_the_caller_lose_nothing(box: Box) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(read, "rb") as pipe:
        with box.start("run", "--rm", "--network", "none", "busybox", "seq", "1", "100000", stdout=write) as running:
            os.close(write)
            reader = SlowReader(pipe, 1000)
            size, _ = reader.finish()
        assert running.returncode == 0
    assert size == len("".join(f"{n}\n" for n in range(1, 100001)))


def test_the_command_may_reopen_its_streams(box: Box) -> None:
    done = box.run("busybox", "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr")
    assert done == (0, "out\n", "err\n")
    done = box.run("-u", "app", "busybox", "sh", "-c", "echo out > /dev/stdout; echo err > /proc/self/fd/2")
    assert done == (0, "out\n", "err\n")


def test_a_user_of_exec_may_reopen_its_streams(box: Box) -> None:
    id_ = box.asleep("-u", "app")
    assert box("exec", id_, "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr") == (0, "out\n", "err\n")


def test_output_of_a_process_that_outlives_the_command_does_not_hold_the_end_up(box: Box) -> None:
    """Process 1 ends, and with it all others, so the pipes end too."""
    assert box.run("busybox", "sh", "-c", "sleep 1000 & echo end").stdout == "end\n"
