"""Look up one file in unpacked layers as the container will see it, without mounting them."""

from __future__ import annotations

import errno
import os
import stat

from rootless.linux import fd as fds

_IN_ROOT = fds.RESOLVE_IN_ROOT | fds.RESOLVE_NO_MAGICLINKS


def read_file(lowers: tuple[str, ...], path: str, limit: int = 1 << 20) -> bytes:
    """Return up to ``limit`` bytes of the regular file ``path``; b"" where the container has none.

    ``lowers`` has the topmost layer first. A symlink in the path is followed within its own layer
    only, which is where the files that this is for (/etc/passwd, /etc/group) have them.
    """
    name = path.lstrip("/")
    for lower in lowers:
        root = os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = _read(root, name, limit)
            if found is not None:
                return found
            if _hides_below(root, name):
                return b""
        finally:
            os.close(root)
    return b""


def _read(root: int, name: str, limit: int) -> bytes | None:
    """Return the content, b"" if something else hides the name, or None if the layer does not have it."""
    try:
        fd = fds.openat2(root, name, os.O_RDONLY | os.O_NONBLOCK, resolve=_IN_ROOT)
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        if e.errno in (errno.ENXIO, errno.EACCES, errno.ELOOP):  # a whiteout cannot be opened
            return b""
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        return os.read(fd, limit)
    finally:
        os.close(fd)


def _hides_below(root: int, name: str) -> bool:
    """Tell whether a directory of this layer on the way to ``name`` is opaque, or a whiteout."""
    parts = name.split("/")
    for depth in range(len(parts)):
        parent = "/".join(parts[:depth]) or "."
        try:
            fd = fds.openat2(root, parent, os.O_PATH, resolve=_IN_ROOT)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISCHR(mode):
                return True
            try:
                if os.getxattr(f"/proc/self/fd/{fd}", "user.overlay.opaque") == b"y":
                    return True
            except OSError as e:
                if e.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM):
                    raise
        finally:
            os.close(fd)
    return False
