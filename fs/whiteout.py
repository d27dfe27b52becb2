"""What a layer takes away from those below it: read as archives spell it, written as overlayfs does.

Source: image-spec layer.md, "Whiteouts"; the kernel's filesystems/overlayfs.rst, "whiteouts and opaque
directories". Whiteouts hide only what lies in lower layers, never what their own layer brings.
"""

from __future__ import annotations

import enum
import errno
import os
import stat
from typing import Final, NamedTuple

from rootless.errors import BadImage, HostUnsupported

PREFIX: Final = b".wh."
_META_PREFIX: Final = b".wh..wh."
_OPAQUE_NAME: Final = b".wh..wh..opq"

OPAQUE: Final = b"user.overlay.opaque"
WHITEOUT: Final = b"user.overlay.whiteout"
OPAQUE_ALL: Final = b"y"  # nothing of the lower directories shows
OPAQUE_SOME: Final = b"x"  # whiteouts here are files with an attribute (Linux 6.7)

#: mknod(2) of a whiteout is allowed to everybody since Linux 5.8, but file systems may not have it:
#: overlayfs itself says EPERM, others EINVAL, ENOTSUP or (seccomp filters) EACCES.
_NO_DEVICE: Final = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


class Kind(enum.Enum):
    """What a name in an archive says about lower layers."""

    HIDE = "hide one name"
    OPAQUE = "hide all of a directory"
    IGNORED = "bookkeeping of aufs"


class Whiteout(NamedTuple):
    """``path`` is what is hidden, or the directory that is opaque."""

    kind: Kind
    path: bytes


def parse(path: bytes) -> Whiteout | None:
    """Return what the clean path of an entry hides, or None for an ordinary entry.

    Raises:
        BadImage: it hides nothing, or a directory from within.
    """
    if PREFIX not in path:
        return None
    parent, _, name = path.rpartition(b"/")
    if name == _OPAQUE_NAME:
        return Whiteout(Kind.OPAQUE, parent)
    if name.startswith(_META_PREFIX) or path.startswith(_META_PREFIX) or b"/" + _META_PREFIX in path:
        return Whiteout(Kind.IGNORED, path)
    if not name.startswith(PREFIX):
        return None
    hidden = name[len(PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise BadImage(f"{path!r} is not the name of a whiteout")
    return Whiteout(Kind.HIDE, parent + b"/" + hidden if parent else hidden)


def make(directory: int, name: bytes, *, device: bool = True) -> bool:
    """Hide ``name`` of lower layers in an O_PATH ``directory``; return whether it became a device node.

    Raises:
        FileExistsError: there is something of that name in this layer.
        HostUnsupported: the file system can hold neither form.
    """
    if device:
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
            return True
        except OSError as e:
            if e.errno not in _NO_DEVICE:
                raise
    listed = _open(directory, b".")
    try:
        if is_opaque(listed):
            return False  # all is hidden already
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            _set(fd, WHITEOUT, b"y")
        finally:
            os.close(fd)
        _set(listed, OPAQUE, OPAQUE_SOME)
    finally:
        os.close(listed)
    return False


def make_opaque(directory: int, name: bytes) -> None:
    """Hide all that lower layers have in the directory ``name`` (or ``.``) of ``directory``.

    An opaque directory cannot hold whiteouts that are files, and needs none: they are removed.
    """
    fd = _open(directory, name)
    try:
        if _get(fd, OPAQUE) == OPAQUE_SOME:
            for entry in os.listdir(fd):
                if is_whiteout(fd, os.fsencode(entry)):
                    os.unlink(entry, dir_fd=fd)
        _set(fd, OPAQUE, OPAQUE_ALL)
    finally:
        os.close(fd)


def is_opaque(fd: int) -> bool:
    """Tell whether nothing of lower layers shows in the open directory ``fd``."""
    return _get(fd, OPAQUE) == OPAQUE_ALL


def is_whiteout(directory: int, name: bytes) -> bool:
    """Tell whether ``name`` in ``directory`` is a whiteout of either form."""
    status = os.lstat(name, dir_fd=directory)
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except PermissionError:
        return False  # ours are readable
    try:
        return _get(fd, WHITEOUT) is not None
    finally:
        os.close(fd)


def _open(directory: int, name: bytes) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _get(fd: int, name: bytes) -> bytes | None:
    try:
        return os.getxattr(fd, name)
    except OSError as e:
        if e.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def _set(fd: int, name: bytes, value: bytes) -> None:
    try:
        os.setxattr(fd, name, value)
    except OSError as e:
        if e.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
        raise HostUnsupported(
            "the file system of the store keeps no user extended attributes, which layers that delete files need",
            hint="set RL_DATA to a directory on ext4, xfs, btrfs, or tmpfs of Linux 6.6 or later",
        ) from e
