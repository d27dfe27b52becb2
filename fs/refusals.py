"""What an archive is told where an entry of it cannot be unpacked, and what people are told to do about it."""

from __future__ import annotations

import errno
import os
from typing import Final

from fs import beneath
from rootless.errors import BadImage, StoreError


def no_target(path: bytes, source: bytes) -> BadImage:
    # As Docker and containerd: a layer's hard links stay within the layer.
    return BadImage(
        f"hard link {beneath.shown(path)} is to {beneath.shown(source)}, which is not in this layer before it"
    )


def refusal(name: bytes, why: str, count: int, first: bytes) -> str:
    where = beneath.shown(first) if count == 1 else f"{count} files, the first {beneath.shown(first)}"
    return f"{os.fsdecode(name)}: {why} ({where})"


_HINTS: Final = {
    errno.EROFS: "set RL_DATA to a directory on a file system that can be written",
    errno.EIO: "the disk has failed to read or write; look for the cause: dmesg",
    errno.EMFILE: "raise the limit: ulimit -n 4096",
    errno.ENFILE: "the whole host has too many files open: see fs.file-max",
}


def explained(error: OSError, name: bytes) -> BadImage | StoreError:
    where = beneath.shown(name)
    if error.errno == errno.ENAMETOOLONG:
        return BadImage(f"{where} has a component of more than 255 bytes, or is too long as a whole")
    if error.errno == errno.ENOTDIR:
        return BadImage(f"a parent of {where} is not a directory")
    if error.errno == errno.ELOOP:
        return BadImage(f"the parents of {where} are symbolic links in a circle")
    if error.errno == errno.EFBIG:
        return BadImage(f"{where} is larger than the file system can hold")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left to unpack {where}: {error.strerror}", hint="free some, or set RL_DATA to another disk"
        )
    return StoreError(f"cannot unpack {where}: {error.strerror}", hint=_HINTS.get(error.errno or 0))
