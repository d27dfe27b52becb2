"""Detach keys: how they are written, and how they are found in what is typed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.errors import UsageError
from rootless.tty.detach import DetachKeys, parse

#: No deadline on a busy machine; no database where the tests may not write.
QUIET = settings(deadline=None, database=None, max_examples=50)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("CTRL-P", b"\x10"),
        ("a,b", b"ab"),
        ("ctrl-@", b"\0"),
        ("ctrl-[", b"\x1b"),
        ("ctrl-_", b"\x1f"),
        ("", b""),
    ],
)
def test_keys_are_read_as_docker_writes_them(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-pp", "ab", "ä", "ctrl-1", ",", "alt-x"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid detach keys"):
        parse(text)


def test_the_sequence_is_found_across_reads() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"ab\x10") == (b"ab", False)
    assert keys.feed(b"\x11cd") == (b"", True)


def test_the_first_key_alone_is_passed_on_with_what_follows() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"x") == (b"\x10x", False)


def test_a_first_key_typed_twice_still_begins_the_sequence() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"\x10\x10\x11") == (b"\x10", True)


def test_without_a_sequence_everything_passes() -> None:
    assert DetachKeys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


@QUIET
@given(st.binary(min_size=1, max_size=4), st.lists(st.binary(max_size=6), max_size=8))
def test_what_is_typed_arrives_up_to_the_sequence(sequence: bytes, pieces: list[bytes]) -> None:
    """However it is cut into reads: nothing is lost, doubled or reordered, and the first sequence counts."""
    keys = DetachKeys(sequence)
    typed = b"".join(pieces)
    passed, detached = b"", False
    for piece in pieces:
        if detached:
            break
        out, detached = keys.feed(piece)
        passed += out
    at = typed.find(sequence)
    if at >= 0:
        assert detached
        assert passed == typed[:at]
    else:
        assert not detached
        assert typed.startswith(passed)
        assert sequence.startswith(typed[len(passed) :])
