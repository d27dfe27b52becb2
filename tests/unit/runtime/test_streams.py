"""Output and input of a container, with real pipes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.runtime import logs
from rootless.runtime.logs import STDOUT, LogWriter
from rootless.runtime.reactor import Reactor
from rootless.runtime.streams import MAX_BEHIND, Input, Output

F_GETPIPE_SZ = 1032  # linux/fcntl.h


class Bench:
    """An output with its source, a log, and a count of how often its end was told."""

    def __init__(self, directory: Path) -> None:
        self.reactor = Reactor()
        self.log = LogWriter(str(directory))
        source, self.container = os.pipe()
        self.told = 0
        self.output = Output(self.reactor, source, STDOUT, self.log, self._changed)
        self.directory = directory

    def _changed(self) -> None:
        self.told += 1

    def logged(self) -> bytes:
        return b"".join(record.data for record in logs.read(str(self.directory)))

    def say(self, data: bytes) -> None:
        """Print from the container and let the output take it."""
        os.write(self.container, data)
        self.reactor.turn()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.output.end()
    made.log.close()


def capacity(pipe: int) -> int:
    return fcntl.fcntl(pipe, F_GETPIPE_SZ)


def read_all(fd: int) -> bytes:
    data = b""
    while piece := os.read(fd, 1 << 16):
        data += piece
    os.close(fd)
    return data


def test_everything_is_logged_and_sent_to_each(bench: Bench) -> None:
    readers = []
    for leads in (True, False):
        read, write = os.pipe()
        bench.output.add(write, leads=leads)
        readers.append(read)
    bench.say(b"hello")
    os.close(bench.container)
    bench.reactor.turn()
    assert [read_all(fd) for fd in readers] == [b"hello", b"hello"]
    assert bench.logged() == b"hello"
    assert bench.output.flushed
    assert bench.told >= 1


def test_one_who_leads_holds_the_container_back(bench: Bench) -> None:
    read, write = os.pipe()
    bench.output.add(write, leads=True)
    size = capacity(read)
    sent = 0
    # Two pipes fill up, ours to the client and the container's to us; then nothing more is taken.
    os.set_blocking(bench.container, False)
    piece = b"x" * 4096
    taken = 0
    while taken < 4 * size:
        try:
            taken += os.write(bench.container, piece)
        except BlockingIOError:
            before = len(bench.logged())
            if bench.output._sinks[0].blocks:
                break
            bench.reactor.turn()
            assert len(bench.logged()) > before or bench.output._sinks[0].blocks
    assert bench.output._sinks[0].blocks
    os.close(bench.container)
    while not bench.output.flushed:
        os.set_blocking(read, False)
        try:
            sent += len(os.read(read, 1 << 16))
        except BlockingIOError:
            pass
        bench.reactor.turn()
    os.set_blocking(read, True)
    sent += len(read_all(read))
    assert sent == taken == len(bench.logged())


def test_one_who_does_not_lead_is_dropped_when_far_behind(bench: Bench) -> None:
    slow_read, slow_write = os.pipe()
    dropped = []
    bench.output.add(slow_write, leads=False, dropped=lambda: dropped.append(True))
    total = 0
    while not dropped:
        bench.say(b"x" * 60_000)
        total += 60_000
        assert total < 4 * MAX_BEHIND
    assert total >= MAX_BEHIND
    assert len(read_all(slow_read)) <= capacity_of_default()
    assert len(bench.logged()) == total
    os.close(bench.container)
    bench.reactor.turn()
    assert bench.output.flushed


def capacity_of_default() -> int:
    read, write = os.pipe()
    size = capacity(read)
    os.close(read)
    os.close(write)
    return size


def test_a_reader_that_goes_away_disturbs_nobody(bench: Bench) -> None:
    gone_read, gone_write = os.pipe()
    read, write = os.pipe()
    bench.output.add(gone_write, leads=True)
    bench.output.add(write, leads=True)
    os.close(gone_read)
    bench.say(b"one")
    bench.say(b"two")
    os.close(bench.container)
    bench.reactor.turn()
    assert read_all(read) == b"onetwo"


def test_one_who_comes_after_the_end_sees_the_end(bench: Bench) -> None:
    os.close(bench.container)
    bench.reactor.turn()
    read, write = os.pipe()
    bench.output.add(write, leads=True)
    assert read_all(read) == b""


def test_ending_it_gives_the_container_a_broken_pipe(bench: Bench) -> None:
    bench.output.end()
    with pytest.raises(BrokenPipeError):
        os.write(bench.container, b"x")
    os.close(bench.container)


class Feed:
    """An input with the container's end of it."""

    def __init__(self, *, close_at_end: bool) -> None:
        self.reactor = Reactor()
        self.container, write = os.pipe()
        self.input = Input(self.reactor, write, close_at_end=close_at_end)


def test_input_arrives_and_ends() -> None:
    feed = Feed(close_at_end=True)
    read, write = os.pipe()
    feed.input.connect(read)
    os.write(write, b"typed")
    feed.reactor.turn()
    os.close(write)
    feed.reactor.turn()
    assert read_all(feed.container) == b"typed"
    assert feed.input.closed


def test_a_terminal_stays_when_a_client_leaves() -> None:
    feed = Feed(close_at_end=False)
    for text in (b"first", b"second"):
        read, write = os.pipe()
        feed.input.connect(read)
        os.write(write, text)
        feed.reactor.turn()
        os.close(write)
        feed.reactor.turn()
        assert os.read(feed.container, 99) == text
    assert not feed.input.closed
    feed.input.close()
    assert read_all(feed.container) == b""


def test_a_second_client_takes_the_input_over() -> None:
    feed = Feed(close_at_end=True)
    first_read, first_write = os.pipe()
    second_read, second_write = os.pipe()
    feed.input.connect(first_read)
    feed.input.connect(second_read)
    with pytest.raises(BrokenPipeError):
        os.write(first_write, b"x")
    os.write(second_write, b"mine")
    feed.reactor.turn()
    assert os.read(feed.container, 99) == b"mine"
    for end in (first_write, second_write):
        os.close(end)
    feed.reactor.turn()
    os.close(feed.container)


def test_input_waits_for_a_container_that_does_not_read() -> None:
    feed = Feed(close_at_end=True)
    size = capacity(feed.container)
    read, write = os.pipe()
    feed.input.connect(read)
    os.set_blocking(write, False)
    sent = 0
    for _ in range(8):
        try:
            sent += os.write(write, b"x" * 16384)
        except BlockingIOError:
            break
        if sent <= size:
            feed.reactor.turn()
    os.close(write)
    received = 0
    while not feed.input.closed:
        received += len(os.read(feed.container, 4096))
        feed.reactor.turn()
    received += len(read_all(feed.container))
    assert received == sent


def test_a_container_that_has_closed_its_input_closes_ours() -> None:
    feed = Feed(close_at_end=True)
    read, write = os.pipe()
    feed.input.connect(read)
    os.close(feed.container)
    os.write(write, b"x")
    feed.reactor.turn()
    assert feed.input.closed
    with pytest.raises(BrokenPipeError):
        os.write(write, b"x")
    os.close(write)
    again_read, again_write = os.pipe()
    feed.input.connect(again_read)
    with pytest.raises(BrokenPipeError):
        os.write(again_write, b"x")
    os.close(again_write)
