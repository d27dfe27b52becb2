"""Streams are inflated whole, whatever they are cut into, or refused."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import threading
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs import compression, streams
from rootless.errors import BadImage
from tests.support.unpacking import Chunks

try:
    from compression import zstd  # type: ignore[import-not-found,attr-defined,unused-ignore]
except ImportError:
    from backports import zstd

TEXT = b"".join(hashlib.sha256(b"%d" % i).digest() + b"x" * 100 for i in range(2000))
SKIPPABLE = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
each = pytest.mark.parametrize("kind", COMPRESSORS)


def inflate(data: bytes, *, cut: int = 1 << 30, ask: int = 1 << 18) -> bytes:
    reader = compression.open(Chunks(data, cut))
    pieces = []
    while piece := reader.read(ask):
        assert len(piece) <= ask
        pieces.append(piece)
    assert reader.read(ask) == b""
    return b"".join(pieces)


@each
@pytest.mark.parametrize("cut", [1, 7, 1000, 1 << 30])
def test_members_follow_each_other(kind: str, cut: int) -> None:
    compress = COMPRESSORS[kind]
    text = TEXT[:20000]
    assert inflate(compress(text) + compress(b"") + compress(b"end"), cut=cut) == text + b"end"


@each
@pytest.mark.parametrize("ask", [1, 512, 1 << 20])
def test_the_reader_says_how_much(kind: str, ask: int) -> None:
    text = TEXT[:5000]
    assert inflate(COMPRESSORS[kind](text), ask=ask) == text


@each
def test_an_end_in_the_middle_is_an_error(kind: str) -> None:
    data = COMPRESSORS[kind](TEXT)
    for length in {6, 7, 20, len(data) // 2, len(data) - 9, len(data) - 1}:
        with pytest.raises(BadImage, match="ends before it is complete"):
            inflate(data[:length])


@each
def test_damage_is_an_error(kind: str) -> None:
    data = bytearray(COMPRESSORS[kind](TEXT))
    data[len(data) // 2] ^= 0x55
    data[len(data) // 2 + 1] ^= 0x55
    with pytest.raises(BadImage):
        inflate(bytes(data))


@each
def test_something_else_behind_is_an_error(kind: str) -> None:
    with pytest.raises(BadImage, match="followed by something else"):
        inflate(COMPRESSORS[kind](TEXT) + b"garbage!")


def test_a_wrong_checksum_is_an_error() -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-6] ^= 1
    with pytest.raises(BadImage, match="damaged"):
        inflate(bytes(data))


def test_zeros_after_a_member_are_padding() -> None:
    data = gzip.compress(b"one") + bytes(700)
    assert inflate(data, cut=5) == b"one"
    assert inflate(data + gzip.compress(b"two") + bytes(3)) == b"onetwo"


def test_a_truncated_second_member_is_an_error() -> None:
    with pytest.raises(BadImage):
        inflate(gzip.compress(b"one") + gzip.compress(TEXT)[:100])


@pytest.mark.parametrize("cut", [1, 9, 1 << 20])
def test_skippable_frames_are_skipped(cut: int) -> None:
    data = SKIPPABLE + zstd.compress(b"one") + SKIPPABLE + zstd.compress(b"two") + SKIPPABLE
    assert inflate(data, cut=cut) == b"onetwo"


@pytest.mark.parametrize("data", [b"", b"a", b"ustar", TEXT], ids=["empty", "one byte", "five bytes", "long"])
@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_what_is_not_compressed_passes(data: bytes, cut: int) -> None:
    data = data[:3000]
    assert inflate(data, cut=cut) == data


@settings(deadline=None, database=None, max_examples=40)
@given(st.lists(st.binary(max_size=3000), max_size=4), st.integers(1, 5000), st.integers(1, 5000))
def test_zlib_does_what_isal_does(members: list[bytes], cut: int, ask: int) -> None:
    """The fallback where there is no isal."""
    raw = Chunks(b"".join(map(gzip.compress, members)), cut)
    reader = compression._Inflated("gzip", compression._ZlibGzip, (zlib.error,), b"", raw)
    pieces = []
    if members:
        while piece := reader.read(ask):
            pieces.append(piece)
    assert b"".join(pieces) == b"".join(members)


def test_what_passes_is_hashed_and_counted() -> None:
    reader = streams.HashingReader(Chunks(TEXT, 1000))
    while reader.read(1 << 16):
        pass
    assert reader.hexdigest() == hashlib.sha256(TEXT).hexdigest()
    assert reader.count == len(TEXT)


def test_reading_ahead_gives_the_same_bytes() -> None:
    with streams.ReadAhead(Chunks(TEXT, 999), chunk=1000, depth=2) as ahead:
        pieces = []
        while piece := ahead.read(400):
            assert len(piece) <= 400
            pieces.append(piece)
        assert ahead.read(400) == b""
    assert b"".join(pieces) == TEXT


def test_reading_ahead_brings_the_error() -> None:
    with streams.ReadAhead(compression.open(Chunks(gzip.compress(TEXT)[:-4]))) as ahead:
        with pytest.raises(BadImage, match="complete"):
            while ahead.read(1 << 16):
                pass
        with pytest.raises(BadImage, match="complete"):
            ahead.read(1)


def test_reading_ahead_can_be_given_up() -> None:
    before = threading.active_count()
    with streams.ReadAhead(Chunks(TEXT, 10), chunk=10, depth=2) as ahead:
        assert ahead.read(10) == TEXT[:10]
    assert threading.active_count() == before
