"""Reach directories beneath a root, where symbolic links are an adversary's: they never lead out.

A path is bytes, relative to the root. ``..`` at the root stays there and absolute links start at the
root, as for a process whose root directory it is (openat2(2), RESOLVE_IN_ROOT).
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Callable
from typing import Final, NamedTuple

from rootless.errors import BadImage
from rootless.linux import fd as descriptors

_OPEN_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_AT_FDCWD: Final = -100  # linux/fcntl.h
_RESOLVE: Final = descriptors.RESOLVE_IN_ROOT | descriptors.RESOLVE_NO_MAGICLINKS
MAX_PATH: Final = 4095  # PATH_MAX without its NUL
_MAX_LINKS: Final = 40  # path_resolution(7)


class Directory(NamedTuple):
    """An open directory and where it really is: no component of ``path`` is a symbolic link."""

    fd: int
    path: bytes


def clean(name: bytes) -> bytes:
    """Return an entry's name as a path below the root: no ``.``, no doubled or outer slash; root is ``b""``.

    ``..`` takes back the component before it, as Docker reads it, whatever that is on disk.

    Raises:
        BadImage: it leads out of the root, or is longer than the kernel takes.
    """
    if name.startswith(b"./"):
        name = name[2:]
    if b"/." not in name and b"//" not in name and name[:1] not in (b".", b"/"):
        path = name.rstrip(b"/")
    else:
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b"..":
                if not parts:
                    raise BadImage(f"the archive wants to write outside of its root: {shown(name)}")
                parts.pop()
            elif part and part != b".":
                parts.append(part)
        path = b"/".join(parts)
    if len(path) > MAX_PATH:
        raise BadImage(f"a name of {len(path)} bytes is longer than a path may be: {path[:64]!r}...")
    return path


def shown(path: bytes) -> str:
    """Return a path as messages quote it."""
    return repr(os.fsdecode(path))


@functools.cache
def has_openat2() -> bool:
    """Tell whether the kernel has openat2 (Linux 5.6) and no filter older than the call hides it."""
    try:
        os.close(descriptors.openat2(_AT_FDCWD, b"/", _OPEN_DIRECTORY, resolve=_RESOLVE))
    except OSError as e:
        if e.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        return False
    return True


def open_directory(root: int, path: bytes) -> int:
    """Return an O_PATH descriptor of the directory ``path``; the caller closes it.

    Raises:
        FileNotFoundError: it, or what a link on the way names, does not exist.
        NotADirectoryError: it or something on the way is not a directory.
        OSError: ELOOP - too many symbolic links; ENAMETOOLONG.
    """
    if has_openat2():
        return descriptors.openat2(root, path or b".", _OPEN_DIRECTORY, resolve=_RESOLVE)
    return walk(root, path).fd


def walk(root: int, path: bytes, make: Callable[[bytes], None] | None = None) -> Directory:
    """Go to the directory ``path`` component by component, following links by hand.

    With ``make``, directories that do not exist are made (mode 0755), also those that a dangling
    link names, and ``make`` is told the path of each. The tree must not be changed by others
    meanwhile: ``..`` trusts that the directory did not move.
    """
    todo = path.split(b"/")[::-1]
    trail: list[bytes] = []
    links = 0
    here = os.open(b".", _OPEN_DIRECTORY, dir_fd=root)
    try:
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if trail:
                    trail.pop()
                    here = _step(here, b"..")
                continue
            try:
                here = _step(here, name)
                trail.append(name)
            except FileNotFoundError:
                if make is None:
                    raise
                os.mkdir(name, 0o755, dir_fd=here)
                here = _step(here, name)
                trail.append(name)
                make(b"/".join(trail))
            except NotADirectoryError:
                target = _read_link(name, here)
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
                if target.startswith(b"/"):
                    trail.clear()
                    os.close(here)
                    here = -1
                    here = os.open(b".", _OPEN_DIRECTORY, dir_fd=root)
                todo.extend(target.split(b"/")[::-1])
    except BaseException:
        if here >= 0:
            os.close(here)
        raise
    return Directory(here, b"/".join(trail))


def _step(here: int, name: bytes) -> int:
    """Open ``name`` in ``here``, which is closed then; O_DIRECTORY with O_NOFOLLOW is ENOTDIR on a link."""
    there = os.open(name, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
    os.close(here)
    return there


def _read_link(name: bytes, here: int) -> bytes:
    try:
        return os.readlink(name, dir_fd=here)
    except OSError as e:
        if e.errno == errno.EINVAL:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from None
        raise


def remove(directory: int, name: bytes) -> bool:
    """Remove ``name`` in ``directory`` with all that is beneath it; tell whether it was a directory.

    Symbolic links are removed, not followed. Depth costs no stack and no more than two descriptors.
    """
    status = os.lstat(name, dir_fd=directory)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=directory)
        return False
    _empty(directory, name)
    os.rmdir(name, dir_fd=directory)
    return True


def _empty(directory: int, name: bytes) -> None:
    here = _open_listable(directory, name)
    names = [name]
    # Of each open level, the subdirectories that are still to be removed.
    pending = [_unlink_files(here)]
    try:
        while True:
            if pending[-1]:
                child = pending[-1].pop()
                there = _open_listable(here, child)
                os.close(here)
                here = there
                names.append(child)
                pending.append(_unlink_files(here))
                continue
            pending.pop()
            done = names.pop()
            if not pending:
                return
            there = os.open(b"..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = there
            os.rmdir(done, dir_fd=here)
    finally:
        os.close(here)


def _open_listable(directory: int, name: bytes) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=directory)
    except PermissionError:
        # Our own directory without the bits that we need: without CAP_DAC_OVERRIDE the owner is bound by them.
        os.chmod(name, 0o700, dir_fd=directory)
        return os.open(name, flags, dir_fd=directory)


def _unlink_files(here: int) -> list[bytes]:
    """Unlink all in ``here`` but directories, and return those."""
    directories = []
    with os.scandir(here) as listing:
        entries = list(listing)  # not every file system lists on reliably while names go
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            directories.append(os.fsencode(entry.name))
        else:
            os.unlink(entry.name, dir_fd=here)
    return directories
