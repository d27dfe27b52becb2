"""The caller's terminal: its size, and raw mode that is always undone."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator

import pytest

from rootless.tty import console


@pytest.fixture
def terminal() -> Iterator[int]:
    master, slave = os.openpty()
    yield slave
    os.close(slave)
    os.close(master)


def test_size_goes_there_and_back(terminal: int) -> None:
    console.set_size(terminal, 33, 99)
    assert console.size(terminal) == (33, 99)


def test_a_terminal_without_a_size_counts_as_24_by_80(terminal: int) -> None:
    console.set_size(terminal, 0, 0)
    assert console.size(terminal) == (24, 80)


def test_raw_mode_ends_with_its_block(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with console.RawMode(terminal):
        raw = termios.tcgetattr(terminal)
        assert not raw[console.LFLAG] & (termios.ICANON | termios.ECHO | termios.ISIG)
        assert not raw[console.OFLAG] & termios.OPOST
    assert termios.tcgetattr(terminal) == before


def test_raw_mode_ends_with_an_exception_too(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with pytest.raises(ZeroDivisionError), console.RawMode(terminal):
        _ = 1 // 0
    assert termios.tcgetattr(terminal) == before


def test_raw_mode_can_be_taken_again(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with console.RawMode(terminal) as raw:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
        raw.resume()
        assert not termios.tcgetattr(terminal)[console.LFLAG] & termios.ECHO
    assert termios.tcgetattr(terminal) == before


@pytest.mark.parametrize("fd", [-1, "pipe"])
def test_what_is_no_terminal_is_left_alone(fd: int | str) -> None:
    if fd == "pipe":
        ends = os.pipe()
        with console.RawMode(ends[0]):
            pass
        for end in ends:
            os.close(end)
    else:
        with console.RawMode(-1) as raw:
            raw.resume()
