"""Read a tar archive as it streams by: v7, ustar, GNU and PAX, with sparse files in every form.

Source: ustar of pax(1p); GNU tar manual, "Basic Tar Format"; image-spec layer.md. ``tarfile`` is not
used: it costs several times what the kernel does for a small file, and reads hostile headers trustingly.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from fs import pax, sparse
from fs.sparse import Sparse
from fs.streams import CHUNK, Readable
from rootless.errors import BadImage

FILE: Final = b"0"
HARD_LINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER_DEVICE: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"

_CONTIGUOUS: Final = b"7"
_OLD_FILE: Final = b"\0"
_PAX: Final = b"x"
_PAX_SHARED: Final = b"g"
_PAX_SOLARIS: Final = b"X"
_GNU_NAME: Final = b"L"
_GNU_LINK: Final = b"K"
_GNU_SPARSE: Final = b"S"
_GNU_DUMPED_DIRECTORY: Final = b"D"
_GNU_CONTINUED: Final = b"M"
_GNU_LABEL: Final = b"V"

_BLOCK: Final = 512
#: name mode uid gid size mtime checksum type link magic (user and group names) major minor prefix
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x")
_HEADER_ONLY: Final = frozenset((HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO))
_AS_FILE: Final = frozenset((FILE, _OLD_FILE, _CONTIGUOUS))
_NO_XATTRS: Final[Mapping[bytes, bytes]] = {}

#: GNU long names end with a NUL; the kernel takes no path of more than 4095 bytes.
_MAX_NAME: Final = 1 << 16
_MAX_SIZE: Final = (1 << 63) - 1
#: One less than uid_t holds: (uid_t) -1 means "leave it" to chown(2).
_MAX_ID: Final = 0xFFFFFFFE
_ADLER: Final = 65521  # RFC 1950


class Entry(NamedTuple):
    """One member of an archive, as its headers describe it; nothing is resolved or trusted yet."""

    kind: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes of data in the archive; for a sparse file fewer than it will have."""
    mtime: int
    """Nanoseconds since 1970."""
    rdev: tuple[int, int]
    xattrs: Mapping[bytes, bytes]
    sparse: Sparse | None


class _Numbers(dict[bytes, int]):
    """Octal fields by their text: modes and owners repeat."""

    def __missing__(self, field: bytes) -> int:
        if len(self) > 4096:
            self.clear()
        value = self[field] = number(field)
        return value


def entries(stream: Readable) -> Archive:
    """Return an iterator of the entries of the archive ``stream``."""
    return Archive(stream)


class Archive:
    """An iterator of entries; the data of the last one is read through it, or skipped.

    Every step raises BadImage where the archive is malformed or ends early. An archive that ends
    between two entries without its end mark is accepted, as tar(1) and Docker do.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        #: The piece of the stream that is being read.
        self.chunk = b""
        self._view = memoryview(b"")
        self._at = 0
        self._end = 0
        self._left = 0  # of the entry's data
        self._padding = 0  # after it
        self._shared: dict[bytes, bytes] = {}
        self._numbers = _Numbers()

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        if self._left or self._padding:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
        block = self._block()
        header = self._parse(block)
        if header[7] in _AS_FILE or header[7] in _HEADER_ONLY:
            return self._entry(block, header, self._shared, None, None)
        return self._extended(block, header)

    def copy_to(self, fd: int) -> None:
        """Write the rest of the entry's data to ``fd``."""
        self._copy(fd, self._left)

    def at_hand(self) -> int:
        """Take all of the entry's data if ``chunk`` has it, and return where it begins there; else -1."""
        at = self._at
        if self._end - at < self._left:
            return -1
        self._at = at + self._left
        self._left = 0
        return at

    def copy_sparse(self, fd: int, holes: Sparse) -> None:
        """Write the entry's data to where it belongs in the empty file ``fd``, and leave the holes."""
        for offset, length in holes.segments:
            os.lseek(fd, offset, os.SEEK_SET)
            self._copy(fd, length)
        os.ftruncate(fd, holes.size)

    def data(self) -> Iterator[memoryview]:
        """Give the rest of the entry's data, in pieces that hold until the next is taken."""
        while self._left:
            at = self._at
            if at == self._end:
                self._refill()
                continue
            n = min(self._end - at, self._left)
            self._at += n
            self._left -= n
            yield self._view[at : at + n]

    def drain(self) -> None:
        """Read what follows the end mark, so that whoever hashes the stream has all of it."""
        while self._stream.read(CHUNK):
            pass

    def _copy(self, fd: int, count: int) -> None:
        while count:
            at = self._at
            n = self._end - at
            if n > count:
                n = count
            elif not n:
                self._refill()
                continue
            n = os.write(fd, self._view[at : at + n])
            self._at = at + n
            self._left -= n
            count -= n

    def _refill(self) -> None:
        chunk = self._stream.read(CHUNK)
        if not chunk:
            raise BadImage("the archive ends in the middle of an entry")
        self.chunk = chunk
        self._view = memoryview(chunk)
        self._at = 0
        self._end = len(chunk)

    def _skip(self, count: int) -> None:
        while count > self._end - self._at:
            count -= self._end - self._at
            self._refill()
        self._at += count

    def _take(self, count: int) -> bytes:
        """Return the next ``count`` bytes; for what is small."""
        at = self._at
        if self._end - at >= count:
            self._at = at + count
            return self.chunk[at : at + count]
        pieces = []
        while count:
            if self._at == self._end:
                self._refill()
            piece = self.chunk[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _block(self) -> bytes:
        """Return the next header block; StopIteration at the end of the archive."""
        at = self._at
        if at + _BLOCK <= self._end:
            self._at = at + _BLOCK
            block = self.chunk[at : at + _BLOCK]
        else:
            if at == self._end:
                chunk = self._stream.read(CHUNK)
                if not chunk:
                    raise StopIteration
                self.chunk = chunk
                self._view = memoryview(chunk)
                self._at = 0
                self._end = len(chunk)
            block = self._take(_BLOCK)
        if not block[0] and not block.strip(b"\0"):
            raise StopIteration
        return block

    def _parse(self, block: bytes) -> tuple[bytes, ...]:
        header: tuple[bytes, ...] = _HEADER.unpack(block)
        field = header[6]
        try:
            total = number(field)
        except BadImage:
            raise _not_a_header(block) from None
        # Adler-32's lower half is the sum of all bytes, plus one: one call instead of 512 additions.
        # The sum in the header counts its own eight bytes as spaces.
        wanted = (total - 8 * 0x20 + sum(field) + 1) % _ADLER
        if zlib.adler32(block) & 0xFFFF != wanted and not _is_signed_sum(block, total):
            raise _not_a_header(block)
        return header

    def _extended(self, block: bytes, header: tuple[bytes, ...]) -> Entry:
        """Collect the headers that describe the next entry, and return it."""
        own: dict[bytes, bytes] = {}
        name: bytes | None = None
        link: bytes | None = None
        while True:
            kind = header[7]
            if kind == _PAX or kind == _PAX_SOLARIS:
                own = pax.parse(self._special(header, pax.MAX_HEADER))
            elif kind == _PAX_SHARED:
                self._share(pax.parse(self._special(header, pax.MAX_HEADER)))
            elif kind == _GNU_NAME:
                name = self._special(header, _MAX_NAME).partition(b"\0")[0]
            elif kind == _GNU_LINK:
                link = self._special(header, _MAX_NAME).partition(b"\0")[0]
            elif kind == _GNU_LABEL:
                self._special(header, _MAX_NAME)
            elif kind == _GNU_CONTINUED:
                raise BadImage("the archive continues another volume, which is not here")
            else:
                records = pax.merged(self._shared, own) if own else self._shared
                return self._entry(block, header, records, name, link)
            try:
                block = self._block()
            except StopIteration:
                if own or name is not None or link is not None:
                    raise BadImage("the archive ends after an extended header") from None
                raise
            header = self._parse(block)

    def _special(self, header: tuple[bytes, ...], limit: int) -> bytes:
        size = number(header[4])
        if not 0 <= size <= limit:
            raise BadImage(f"an extended header of {size} bytes is not believable (at most {limit})")
        data = self._take(size)
        self._skip(-size % _BLOCK)
        return data

    def _share(self, records: dict[bytes, bytes]) -> None:
        self._shared = pax.merged(self._shared, records)
        if sum(map(len, self._shared)) + sum(map(len, self._shared.values())) > pax.MAX_HEADER:
            raise BadImage(f"the shared PAX headers hold more than {pax.MAX_HEADER} bytes")

    def _entry(
        self,
        block: bytes,
        header: tuple[bytes, ...],
        records: Mapping[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        name, mode_, uid_, gid_, size_, mtime_, _, kind, link, magic, major, minor, prefix = header
        numbers = self._numbers
        mode = numbers[mode_]
        uid = numbers[uid_]
        gid = numbers[gid_]
        size = number(size_)
        mtime = number(mtime_)
        if not -pax.LAST_SECOND <= mtime <= pax.LAST_SECOND:
            mtime = pax.LAST_SECOND if mtime > 0 else -pax.LAST_SECOND
        mtime *= 1_000_000_000
        xattrs = _NO_XATTRS
        rdev = (0, 0)
        if long_name is not None:
            name = long_name
        else:
            name = name.partition(b"\0")[0]
            if prefix[0] and magic[:6] == b"ustar\0":
                # star keeps times in the last 24 bytes of the field and says so behind it.
                prefix = prefix[:131] if block[508:] == b"tar\0" else prefix
                name = prefix.partition(b"\0")[0] + b"/" + name
        if records:
            name = records.get(b"path", name)
            link = records.get(b"linkpath", link)
            size = pax.number(records, b"size", size)
            uid = pax.number(records, b"uid", uid)
            gid = pax.number(records, b"gid", gid)
            mtime = pax.time(records, b"mtime", mtime)
            xattrs = pax.xattrs(records)
        if kind == HARD_LINK or kind == SYMLINK:
            if long_link is not None:
                link = long_link
            link = link.partition(b"\0")[0]
        else:
            link = b""
        if kind == CHARACTER_DEVICE or kind == BLOCK_DEVICE:
            rdev = (numbers[major], numbers[minor])
        if not 0 <= size <= _MAX_SIZE or not 0 <= uid <= _MAX_ID or not 0 <= gid <= _MAX_ID or mode < 0:
            raise BadImage(f"{name!r} has an impossible size, owner or mode: {size}, {uid}:{gid}, {mode:o}")
        if kind in _HEADER_ONLY:
            # As Docker's reader: whatever their size field says, no data follows.
            return Entry(kind, name, link, mode, uid, gid, 0, mtime, rdev, xattrs, None)
        self._left = size
        self._padding = -size % _BLOCK
        if kind == _GNU_SPARSE or (records and (b"GNU.sparse.size" in records or b"GNU.sparse.major" in records)):
            name, holes = self._sparse(block, kind, name, records)
            return Entry(FILE, name, b"", mode, uid, gid, self._left, mtime, rdev, xattrs, holes)
        if name.endswith(b"/") or kind == _GNU_DUMPED_DIRECTORY:
            return Entry(DIRECTORY, name, b"", mode, uid, gid, 0, mtime, rdev, xattrs, None)
        # "Unknown type: as a regular file" (pax(1p)); also sockets and what other systems added.
        return Entry(FILE, name, b"", mode, uid, gid, size, mtime, rdev, xattrs, None)

    def _sparse(self, block: bytes, kind: bytes, name: bytes, records: Mapping[bytes, bytes]) -> tuple[bytes, Sparse]:
        if kind == _GNU_SPARSE:
            size, segments = sparse.read_old(block, number, lambda: self._take(_BLOCK))
        else:
            name = records.get(b"GNU.sparse.name", name)
            if b"GNU.sparse.major" in records:
                version = (pax.number(records, b"GNU.sparse.major", 0), pax.number(records, b"GNU.sparse.minor", 0))
                if version != (1, 0):
                    raise BadImage(f"{name!r} is a sparse file of unknown version {version}")
                size = pax.number(records, b"GNU.sparse.realsize", -1)
                segments, used = sparse.read_lines(self._map_block)
                assert used >= 0
            else:
                size = pax.number(records, b"GNU.sparse.size", -1)
                segments = sparse.parse_list(records.get(pax.SPARSE_MAP, b""))
        return name, sparse.checked(size, segments, self._left)

    def _map_block(self) -> bytes:
        if self._left < _BLOCK:
            raise BadImage("the map of a sparse file is longer than its data")
        self._left -= _BLOCK
        return self._take(_BLOCK)


def number(field: bytes) -> int:
    """Return the number of a header field: octal text, or base 256 where its first bit is set (GNU, star).

    Raises:
        BadImage: it is neither.
    """
    try:
        return int(field.rstrip(b" \0"), 8)
    except ValueError:
        pass
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        # The first byte is 0x80 for a positive number, 0xff for a negative one in two's complement.
        return value - (1 << bits) if field[0] & 0x40 else value - (1 << (bits - 1))
    text = field.strip(b" \0").partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    try:
        return int(text, 8)
    except ValueError:
        raise BadImage(f"a tar header has {field!r} for a number") from None


def _not_a_header(block: bytes) -> BadImage:
    return BadImage(f"this is not a tar header, its checksum is wrong: {block[:48]!r}")


def _is_signed_sum(block: bytes, wanted: int) -> bool:
    """Tell whether the checksum is of signed bytes, as some old systems wrote it."""
    rest = block[:148] + b" " * 8 + block[156:]
    return sum(rest) - 256 * sum(byte >= 0x80 for byte in rest) == wanted
