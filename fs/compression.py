"""Inflate a stream, whatever it was compressed with: gzip, zstd, bzip2, xz, or nothing.

A gzip stream is a sequence of members (RFC 1952, 2.2) and a zstd stream one of frames, some of them
skippable (RFC 8878, 3); pigz, pzstd, estargz and zstd:chunked write many. Zeros after the last are padding.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol, cast

from fs.streams import Readable
from rootless.errors import BadImage, HostUnsupported

#: Compressed bytes read at once, where the caller asks for more than that inflated.
_INPUT: Final = 1 << 18

_GZIP_MAGIC: Final = b"\x1f\x8b"  # RFC 1952, 2.3.1
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"  # RFC 8878, 3.1.2: the byte before is 0x50 to 0x5f
_BZIP2_MAGIC: Final = b"BZh"
_XZ_MAGIC: Final = b"\xfd7zXZ\x00"
_LONGEST_MAGIC: Final = 6

#: Says "gzip", "zstd", "bzip2", "xz" or "none".
Kind = str


class _Decompressor(Protocol):
    """What inflates one member; the interface of bz2, lzma, compression.zstd and isal."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes: ...


class _ZlibGzip:
    """zlib in the shape of the others."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: with a gzip header
        self._full = False

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._full

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        tail = self._object.unconsumed_tail
        chunk = self._object.decompress(tail + data if tail else data, max(max_length, 0))
        # A full chunk may leave more inside of zlib with no input left over: ask again.
        self._full = bool(self._object.unconsumed_tail) or len(chunk) == max_length
        return chunk


def detect(head: bytes) -> Kind:
    """Name the compression of a stream by its first bytes."""
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    if head.startswith(_ZSTD_MAGIC) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5):
        return "zstd"
    if head.startswith(_BZIP2_MAGIC):
        return "bzip2"
    if head.startswith(_XZ_MAGIC):
        return "xz"
    return "none"


def open(raw: Readable) -> Readable:  # noqa: A001
    """Return a reader of what ``raw`` inflates to; an empty stream stays empty.

    Reading raises BadImage where the data is damaged or ends early.

    Raises:
        HostUnsupported: it is zstd and this Python has no decompressor for it.
    """
    head = b""
    while len(head) < _LONGEST_MAGIC:
        chunk = raw.read(_INPUT)
        if not chunk:
            break
        head += chunk
    kind = detect(head)
    if kind == "none":
        return _Prefixed(head, raw)
    new, error = _decompressor(kind)
    return _Inflated(kind, new, error, head, raw)


def _decompressor(kind: Kind) -> tuple[Callable[[], _Decompressor], tuple[type[Exception], ...]]:
    """Return what makes a decompressor for one member, and what it raises on damage."""
    if kind == "gzip":
        return _gzip()
    if kind == "zstd":
        return _zstd()
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError)
    import lzma

    return lzma.LZMADecompressor, (lzma.LZMAError,)


def _gzip() -> tuple[Callable[[], _Decompressor], tuple[type[Exception], ...]]:
    try:
        from isal import igzip_lib
    except ImportError:
        return _ZlibGzip, (zlib.error,)
    # Checks the header and, at the end, checksum and length.
    flag = igzip_lib.DECOMP_GZIP
    return lambda: igzip_lib.IgzipDecompressor(flag=flag), (cast("type[Exception]", igzip_lib.error),)


def _zstd() -> tuple[Callable[[], _Decompressor], tuple[type[Exception], ...]]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,no-redef,unused-ignore]
        except ImportError as e:
            raise HostUnsupported(
                "the layer is compressed with zstd, which this Python cannot read",
                hint="python3 -m pip install backports.zstd",
            ) from e
    return zstd.ZstdDecompressor, (zstd.ZstdError,)


class _Prefixed:
    """A stream whose beginning was already read."""

    def __init__(self, head: bytes, raw: Readable) -> None:
        self._head = head
        self._raw = raw

    def read(self, n: int, /) -> bytes:
        if head := self._head:
            self._head = head[n:]
            return head[:n]
        return self._raw.read(n)


class _Inflated:
    """A stream of members, each inflated by a decompressor of its own."""

    def __init__(
        self,
        kind: Kind,
        new: Callable[[], _Decompressor],
        errors: tuple[type[Exception], ...],
        head: bytes,
        raw: Readable,
    ) -> None:
        self._kind = kind
        self._new = new
        self._errors = errors
        self._input = head
        self._raw = raw
        self._member = new()
        self._done = False

    def read(self, n: int, /) -> bytes:
        if self._done or n <= 0:
            return b""
        while True:
            member = self._member
            if member.eof:
                if not self._begin_next(member.unused_data):
                    self._done = True
                    return b""
                member = self._member
            data = self._input
            if data:
                self._input = b""
            elif member.needs_input:
                data = self._raw.read(_INPUT)
                if not data:
                    raise BadImage(f"the {self._kind} data ends before it is complete")
            try:
                chunk = member.decompress(data, n)
            except self._errors as e:
                raise BadImage(f"the {self._kind} data is damaged: {e}") from e
            if chunk:
                return chunk

    def _begin_next(self, rest: bytes) -> bool:
        """Make a decompressor for what follows a member; tell whether anything does."""
        while not rest.strip(b"\0"):
            rest = self._raw.read(_INPUT)
            if not rest:
                return False
        # Only gzip and xz are padded, but a member of no kind begins with a zero.
        rest = rest.lstrip(b"\0")
        while len(rest) < _LONGEST_MAGIC and (more := self._raw.read(_INPUT)):
            rest += more
        if detect(rest) != self._kind:
            raise BadImage(f"the {self._kind} data is followed by something else: {rest[:16]!r}")
        self._input = rest
        self._member = self._new()
        return True
