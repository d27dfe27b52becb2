"""/etc/subuid as people leave it: by name, by uid, in pieces, overlapping, and with nonsense in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idmap import subid
from idmap.subid import SubRange


def of(text: str, user: str = "ann", uid: int = 1000) -> subid.Subids:
    return subid.of_user(subid.parse(text), user, uid)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann:100000:65536\n", ((100000, 65536),)),
        ("1000:100000:65536", ((100000, 65536),)),
        ("bob:1:2\nann:100000:1000\n1000:300000:5\nann:200000:10\n", ((100000, 1000), (300000, 5), (200000, 10))),
        ("# ann:1:2\n\n  ann:7:3  \n", ((7, 3),)),
        ("ann:100:50\nann:100:50\n", ((100, 50),)),
        ("ann:100:50\nann:90:100\n", ((100, 50), (90, 10), (150, 40))),
        ("annabel:100:50\n10000:1:1\n", ()),
        ("", ()),
    ],
    ids=["name", "uid", "several in file order", "comment", "twice", "overlap", "others", "empty"],
)
def test_the_ranges_of_a_user_are_found(text: str, expected: tuple[tuple[int, int], ...]) -> None:
    assert of(text) == subid.Subids(tuple(SubRange(*r) for r in expected), ())


@pytest.mark.parametrize(
    "line",
    [
        "ann",
        "ann:1",
        "ann:x:5",
        "ann:-5:5",
        "ann:1:0",
        "ann:4294967295:1",
        "ann:1:2:3",
        ":1:2",
        "ann:²:1",
        "ann:1:9" + "9" * 30,
    ],
)
def test_a_bad_line_is_reported_and_passed_over(line: str) -> None:
    found = of(f"ann:100:5\n{line}\nann:200:5\n")
    assert found.ranges == (SubRange(100, 5), SubRange(200, 5))
    assert len(found.problems) == 1
    assert "/etc/subuid line 2" in found.problems[0]
    assert line in found.problems[0]


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    subid.parse(text)
    subid.parse_getsubids(text)
    subid.asks_nss(text)


@given(st.lists(st.builds(SubRange, st.integers(0, 200), st.integers(1, 50)), max_size=8))
def test_disjoint_ranges_cover_the_same_ids_once(ranges: list[SubRange]) -> None:
    ids = [i for start, length in subid.disjoint(ranges) for i in range(start, start + length)]
    assert sorted(ids) == sorted({i for start, length in ranges for i in range(start, start + length)})


@given(st.lists(st.builds(SubRange, st.integers(0, 2000), st.integers(1, 300)), max_size=8))
def test_the_lowest_free_block_is_free_and_the_lowest(taken: list[SubRange]) -> None:
    def is_free(start: int) -> bool:
        return all(other.start + other.length <= start or other.start >= start + 100 for other in taken)

    found = subid.lowest_free(tuple(taken), 200, 1499, 100)
    candidates = [start for start in range(200, 1401, 100) if is_free(start)]
    assert found == (SubRange(candidates[0], 100) if candidates else None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("passwd: files sss\n", False),
        ("subid: files\n", False),
        ("subid: sss\n", True),
        ("subid:  files sss # both", False),
        ("# subid: sss", False),
        ("subid:", False),
    ],
)
def test_nsswitch_says_whether_to_ask_elsewhere(text: str, expected: bool) -> None:
    assert subid.asks_nss(text) is expected


def test_what_getsubids_prints_is_read() -> None:
    assert subid.parse_getsubids("0: ann 100000 65536\n1: ann 300000 5\nError fetching ranges\n") == (
        SubRange(100000, 65536),
        SubRange(300000, 5),
    )


def program(directory: Path, text: str) -> str:
    path = directory / "getsubids"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_getsubids_is_asked_for_users_and_groups(tmp_path: Path) -> None:
    path = program(tmp_path, 'test "$1" = -g && echo "0: $2 7 8" || echo "0: $1 5 6"')
    assert subid.getsubids(path, "ann") == (SubRange(5, 6),)
    assert subid.getsubids(path, "ann", groups=True) == (SubRange(7, 8),)


def test_a_getsubids_that_fails_finds_nothing(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    assert subid.getsubids(program(tmp_path, "echo Error >&2; exit 1"), "ann") == ()
    assert subid.getsubids(str(tmp_path / "missing"), "ann") == ()
    assert len(os.listdir("/proc/self/fd")) == len(before)
