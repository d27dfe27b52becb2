"""Choosing among the records of a log, and stamping lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.container.state import EXITED, ContainerState
from rootless.engine import logview
from rootless.engine.logview import Wanted
from rootless.runtime.logs import STDERR, STDOUT, LogWriter, Record

#: No deadline on a busy machine; no database where the tests may not write.
QUIET = settings(deadline=None, database=None, max_examples=50)
ALL = Wanted(follow=False, tail=None, since=None, until=None, timestamps=False)


def records(*pieces: bytes) -> list[Record]:
    return [Record(number, STDOUT, piece) for number, piece in enumerate(pieces, 1)]


def last(lines: int, *pieces: bytes) -> bytes:
    kept, seen = logview.tail(records(*pieces), lines)
    assert seen == len(pieces)
    return b"".join(record.data for record in kept)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, b""), (1, b"d"), (2, b"c\nd"), (3, b"b\nc\nd"), (4, b"a\nb\nc\nd"), (9, b"a\nb\nc\nd")],
)
@pytest.mark.parametrize(
    "pieces",
    [(b"a\nb\nc\nd",), (b"a\n", b"b\n", b"c\n", b"d"), (b"a", b"\nb", b"\nc\n", b"d"), (b"a\nb", b"\nc\nd")],
    ids=["one record", "a record a line", "cut before newlines", "cut in between"],
)
def test_the_last_lines_however_they_were_read(pieces: tuple[bytes, ...], lines: int, expected: bytes) -> None:
    assert last(lines, *pieces) == expected


@QUIET
@given(st.lists(st.binary(min_size=1, max_size=8), max_size=8), st.integers(0, 6))
def test_the_last_lines_are_those_of_the_whole_text(pieces: list[bytes], lines: int) -> None:
    pieces = [piece.replace(b"\x00", b"\n") for piece in pieces]
    whole = b"".join(pieces)
    split = whole.split(b"\n")
    ends = [line + b"\n" for line in split[:-1]] + ([split[-1]] if split[-1] else [])
    assert last(lines, *pieces) == b"".join(ends[len(ends) - min(lines, len(ends)) :])


def stamped(*pieces: bytes) -> bytes:
    out, fresh = b"", True
    for piece in pieces:
        data, fresh = logview.stamp(Record(0, STDOUT, piece), fresh)
        out += data
    return out.replace(b"1970-01-01T00:00:00.000000000Z ", b"@")


def test_each_line_is_stamped_once() -> None:
    assert stamped(b"a\nb\n") == b"@a\n@b\n"
    assert stamped(b"a", b"b\n", b"c") == b"@ab\n@c"
    assert stamped(b"a\n", b"\n") == b"@a\n@\n"
    assert stamped(b"10%\r20%\r\n", b"x") == b"@10%\r20%\r\n@x"


@QUIET
@given(st.lists(st.binary(min_size=1, max_size=6), max_size=6))
def test_stamps_do_not_depend_on_how_it_was_read(pieces: list[bytes]) -> None:
    assert stamped(*pieces) == (stamped(b"".join(pieces)) if pieces else b"")


def test_times_are_utc_with_nine_digits() -> None:
    assert logview.timestamp(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"


def shown(directory: Path, wanted: Wanted) -> tuple[bytes, bytes]:
    pipes = [os.pipe(), os.pipe()]
    logview.show(str(directory), ContainerState(EXITED), wanted, (pipes[0][1], pipes[1][1]))
    results = []
    for read, write in pipes:
        os.close(write)
        results.append(os.read(read, 1 << 16))
        os.close(read)
    return results[0], results[1]


def test_streams_go_to_their_own_places(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = LogWriter(str(tmp_path / "log"))
    log.write(STDOUT, b"out\n")
    log.write(STDERR, b"err\n")
    log.close()
    assert shown(tmp_path, ALL) == (b"out\n", b"err\n")
    assert shown(tmp_path, ALL._replace(tail=1)) == (b"", b"err\n")
    assert shown(tmp_path, ALL._replace(since=2**63)) == (b"", b"")
    assert shown(tmp_path, ALL._replace(until=0)) == (b"", b"")
