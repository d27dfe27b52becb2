"""Write tar archives byte by byte: also those that no tar program would write."""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)

USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"
V7 = bytes(8)


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 0,
    link: bytes = b"",
    magic: bytes = USTAR,
    rdev: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """Return one header block; numbers given as bytes are put there as they are."""
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            _field(mode, 8),
            _field(uid, 8),
            _field(gid, 8),
            _field(size, 12),
            _field(mtime, 12),
            b" " * 8,
            kind,
            link[:100].ljust(100, b"\0"),
            magic,
            bytes(64),
            _field(rdev[0], 8),
            _field(rdev[1], 8),
            prefix.ljust(167, b"\0"),
        )
    )
    return with_checksum(block, checksum)


def with_checksum(block: bytes, checksum: int | None = None) -> bytes:
    """Return the header block with the sum of its bytes in its place, or another number."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % (sum(blank) if checksum is None else checksum) + block[156:]


def padded(data: bytes) -> bytes:
    """Return data with the zeros that fill its last block."""
    return data + bytes(-len(data) % BLOCK)


def file(name: bytes, data: bytes = b"", *, mode: int = 0o644, uid: int = 0, gid: int = 0, mtime: int = 0) -> bytes:
    """Return the entry of a regular file."""
    return header(name, size=len(data), mode=mode, uid=uid, gid=gid, mtime=mtime) + padded(data)


def directory(name: bytes, *, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: int = 0) -> bytes:
    """Return the entry of a directory."""
    return header(name, b"5", mode=mode, uid=uid, gid=gid, mtime=mtime)


def symlink(name: bytes, target: bytes, *, uid: int = 0, gid: int = 0, mtime: int = 0) -> bytes:
    """Return the entry of a symbolic link."""
    return header(name, b"2", link=target, mode=0o777, uid=uid, gid=gid, mtime=mtime)


def hard_link(name: bytes, target: bytes) -> bytes:
    """Return the entry of a hard link."""
    return header(name, b"1", link=target)


def pax(records: Mapping[bytes, bytes] | list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """Return an extended header with these records."""
    pairs = records if isinstance(records, list) else list(records.items())
    return raw_pax(b"".join(pax_record(key, value) for key, value in pairs), kind)


def raw_pax(data: bytes, kind: bytes = b"x") -> bytes:
    """Return an extended header with this body."""
    return header(b"PaxHeaders/0", kind, size=len(data)) + padded(data)


def pax_record(key: bytes, value: bytes) -> bytes:
    """Return ``length key=value\\n``, whose length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def gnu_long(kind: bytes, text: bytes) -> bytes:
    """Return GNU's long name (``L``) or long link (``K``) for the next entry."""
    return header(b"././@LongLink", kind, size=len(text) + 1, magic=GNU) + padded(text + b"\0")


def base256(value: int, width: int) -> bytes:
    """Return a number as GNU tar writes what octal cannot hold."""
    if value >= 0:
        return bytes([0x80]) + value.to_bytes(width - 1, "big")
    return (value + (1 << (8 * width))).to_bytes(width, "big")


def old_sparse(name: bytes, size: int, segments: list[tuple[int, int]], data: bytes) -> bytes:
    """Return a sparse file with its map in the header, and in blocks after it, as GNU tar wrote before PAX."""
    block = bytearray(header(name, b"S", size=len(data), magic=GNU))
    pieces = [_field(number, 12) for segment in segments for number in segment]
    block[386 : 386 + 96] = b"".join(pieces[:8]).ljust(96, b"\0")
    rest = pieces[8:]
    block[482] = bool(rest)
    block[483:495] = _field(size, 12)
    blocks = [with_checksum(bytes(block))]
    while rest:
        now, rest = rest[:42], rest[42:]
        blocks.append(b"".join(now).ljust(504, b"\0") + bytes([bool(rest)]) + bytes(7))
    return b"".join(blocks) + padded(data)


def _field(value: int | bytes, width: int) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return base256(value, width)
