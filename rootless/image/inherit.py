"""Directories that a layer's archive does not mention look like those below it: mode, owner, times, attributes.

Run in a worker inside the user namespace; the trees are those of images, hence hostile: no symlink is
followed, and nothing is opened but directories.
"""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

_OPEN: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE: Final = "user.overlay.opaque"
_PRIVATE: Final = "user.overlay."


class Inherited(NamedTuple):
    """Directory ``path`` now looks as in the lower layer number ``lower`` (0 is the topmost), or, at -1, as made."""

    path: str
    lower: int


def inherit(root_fd: int, lowers: tuple[int, ...], directories: tuple[str, ...]) -> tuple[Inherited, ...]:
    """Copy what the lower trees say onto the ``directories`` (relative) of the tree ``root_fd``."""
    done = []
    for path in sorted(directories, reverse=True):  # children first: setting them changes no parent's time
        target, hidden = _walk(root_fd, path)
        if target < 0:
            continue
        try:
            lower, source = (-1, -1) if hidden else _first_that_has(lowers, path)
            if source >= 0:
                try:
                    _copy(source, target)
                finally:
                    os.close(source)
            done.append(Inherited(path, lower))
        finally:
            os.close(target)
    return tuple(done)


def _first_that_has(lowers: tuple[int, ...], path: str) -> tuple[int, int]:
    for number, lower in enumerate(lowers):
        fd, hidden = _walk(lower, path)
        if fd >= 0:
            return number, fd
        if hidden:
            break
    return -1, -1


def _walk(root_fd: int, path: str) -> tuple[int, bool]:
    """Return a descriptor of the directory, or -1; and whether this tree hides what is below it there."""
    fd = os.dup(root_fd)
    opaque = False
    for name in path.split("/"):
        opaque = opaque or _is_opaque(fd)
        try:
            inner = os.open(name, _OPEN, dir_fd=fd)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            # A whiteout is a device, a symlink or a file is in the way: all of these hide what is below.
            return -1, opaque or e.errno != errno.ENOENT
        finally:
            os.close(fd)
        fd = inner
    return fd, opaque


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", _OPAQUE) == b"y"
    except OSError:
        return False


def _copy(source: int, target: int) -> None:
    status = os.fstat(source)
    there = f"/proc/self/fd/{target}"
    # Owner before mode: chown(2) clears the set-group-ID bit.
    if (status.st_uid, status.st_gid) != os.fstat(target)[4:6]:
        os.chown(there, status.st_uid, status.st_gid)
    _copy_attributes(f"/proc/self/fd/{source}", there)
    os.chmod(there, status.st_mode & 0o7777)
    os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_attributes(source: str, target: str) -> None:
    try:
        names = os.listxattr(source)
    except OSError:
        return
    for name in names:
        if not name.startswith(_PRIVATE):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError:  # security.* may not be ours to set
                continue
