"""PAX extended headers: records that override what the next header, or all that follow, can hold.

Source: pax(1p), "pax Extended Header"; the SCHILY keys are star's, and what image-spec layer.md uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from rootless.errors import BadImage

#: Real ones hold a path of 4 KiB and xattrs of up to 64 KiB.
MAX_HEADER: Final = 1 << 20

XATTR: Final = b"SCHILY.xattr."

#: The keys of sparse map 0.0, repeated in one header: they are joined to what map 0.1 has.
_SPARSE_OFFSET: Final = b"GNU.sparse.offset"
_SPARSE_LENGTH: Final = b"GNU.sparse.numbytes"
SPARSE_MAP: Final = b"GNU.sparse.map"

_TIME: Final = re.compile(rb"(-?)(\d{1,19})(?:\.(\d*))?")
#: Year 36812: later than any file system stores (the kernel cuts to what it can), and a safe time_t.
LAST_SECOND: Final = 1 << 40
_NUMBER: Final = re.compile(rb"\d{1,20}")


def parse(data: bytes) -> dict[bytes, bytes]:
    """Return the records of one extended header; an empty value takes a key back.

    Raises:
        BadImage: it is not a sequence of ``length key=value\\n``.
    """
    records: dict[bytes, bytes] = {}
    points: list[bytes] = []
    position = 0
    end = len(data)
    while position < end:
        if data[position] == 0 and not data[position:].strip(b"\0"):
            break  # padding inside of the header, which some writers count
        space = data.find(b" ", position, position + 20)
        digits = data[position:space]
        if space < 0 or not digits.isdigit():
            raise BadImage(f"malformed PAX header: {data[position : position + 32]!r}")
        after = position + int(digits)
        equals = data.find(b"=", space + 1, after)
        if after > end or equals <= space + 1 or data[after - 1] != 0x0A:
            raise BadImage(f"malformed PAX record: {data[position : position + 64]!r}")
        key = data[space + 1 : equals]
        value = data[equals + 1 : after - 1]
        if b"\0" in key or (b"\0" in value and not key.startswith((XATTR, b"LIBARCHIVE."))):
            raise BadImage(f"PAX record {key!r} holds a NUL byte")
        if key == _SPARSE_OFFSET or key == _SPARSE_LENGTH:
            if (len(points) % 2 == 0) != (key == _SPARSE_OFFSET):
                raise BadImage("the sparse map of a PAX header is out of order")
            points.append(value)
        else:
            records[key] = value
        position = after
    if points:
        records[SPARSE_MAP] = b",".join(points)
    return records


def merged(shared: Mapping[bytes, bytes], own: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the records in force for one entry: its own over the archive's, without those taken back."""
    return {key: value for key, value in {**shared, **own}.items() if value or key.startswith(XATTR)}


def number(records: Mapping[bytes, bytes], key: bytes, default: int) -> int:
    """Return the non-negative decimal under ``key``."""
    value = records.get(key)
    if value is None:
        return default
    if not _NUMBER.fullmatch(value):
        raise BadImage(f"PAX record {key.decode(errors='replace')!r} is not a number: {value[:32]!r}")
    return int(value)


def time(records: Mapping[bytes, bytes], key: bytes, default: int) -> int:
    """Return the time under ``key`` in nanoseconds since 1970, exactly, rounded down."""
    value = records.get(key)
    if value is None:
        return default
    match = _TIME.fullmatch(value)
    if match is None:
        raise BadImage(f"PAX record {key.decode(errors='replace')!r} is not a time: {value[:32]!r}")
    sign, seconds, fraction = match.groups()
    fraction = fraction or b""
    nanoseconds = min(int(seconds), LAST_SECOND) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    if not sign:
        return nanoseconds
    return -nanoseconds - (1 if fraction[9:].strip(b"0") else 0)


def xattrs(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the extended attributes, by name."""
    skip = len(XATTR)
    return {key[skip:]: value for key, value in records.items() if key.startswith(XATTR)}
