"""The loop over poll(2)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rootless.runtime.reactor import IN, OUT, Reactor

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_the_handler_of_a_ready_descriptor_is_called(pipe: Pipe) -> None:
    reactor, seen = Reactor(), []
    reactor.watch(pipe[0], IN, lambda: seen.append(os.read(pipe[0], 9)))
    os.write(pipe[1], b"x")
    reactor.turn()
    assert seen == [b"x"]


def test_a_hang_up_counts_as_ready(pipe: Pipe) -> None:
    reactor, seen = Reactor(), []
    reactor.watch(pipe[0], IN, lambda: seen.append(os.read(pipe[0], 9)))
    os.close(pipe[1])
    reactor.turn()
    assert seen == [b""]


def test_what_an_earlier_handler_forgot_is_not_called(pipe: Pipe) -> None:
    reactor, seen = Reactor(), []
    other = os.pipe()

    def first(mine: int, others: int) -> None:
        seen.append(mine)
        reactor.forget(others)

    reactor.watch(pipe[0], IN, lambda: first(pipe[0], other[0]))
    reactor.watch(other[0], IN, lambda: first(other[0], pipe[0]))
    os.write(pipe[1], b"x")
    os.write(other[1], b"x")
    reactor.turn()
    assert len(seen) == 1
    for end in other:
        os.close(end)


def test_a_deadline_expires_once(pipe: Pipe) -> None:
    reactor, seen = Reactor(), []
    reactor.watch(pipe[1], OUT, lambda: None)
    reactor.at(0, lambda: seen.append("due"))
    reactor.turn()
    reactor.turn()
    assert seen == ["due"]


def test_a_later_deadline_replaces_the_earlier(pipe: Pipe) -> None:
    reactor, seen = Reactor(), []
    reactor.watch(pipe[1], OUT, lambda: None)
    reactor.at(1000, lambda: seen.append("never"))
    reactor.at(0, lambda: seen.append("now"))
    reactor.turn()
    assert seen == ["now"]


def test_a_handler_may_set_the_next_deadline() -> None:
    reactor, seen = Reactor(), []
    reactor.at(0, lambda: reactor.at(0, lambda: seen.append("second")))
    reactor.turn()
    reactor.turn()
    assert seen == ["second"]


def test_forgetting_what_is_not_watched_is_no_error(pipe: Pipe) -> None:
    Reactor().forget(pipe[0])
