"""Copy layers in overlay form into one tree, as overlayfs would show them.

Runs as the root of the user namespace; owners are copied as they are on disk. The layers do not change
meanwhile, and only entries that are directories are descended into, so no symlink is ever followed.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE: Final = "user.overlay.opaque"
_WHITEOUT: Final = "user.overlay.whiteout"
_OWN: Final = "user.overlay."
_NO_XATTRS: Final = frozenset((errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS))
_NO_COPY: Final = frozenset((errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF))


class _Directory(NamedTuple):
    path: str
    layers: tuple[int, ...]  # those that show through, topmost first


class _Found:
    """A directory name while the layers of its parent are read."""

    __slots__ = ("layers", "open")

    def __init__(self) -> None:
        self.layers: list[int] = []
        self.open = True  # whether lower layers still show through


def merge(layers: tuple[int, ...], root: int) -> None:
    """Copy the layers, descriptors with the topmost first, into the empty directory ``root``.

    Raises:
        OSError: of the disk, for instance ENOSPC.
    """
    old_umask = os.umask(0)
    try:
        _Merge(layers, root).run()
    finally:
        os.umask(old_umask)


class _Merge:
    def __init__(self, layers: tuple[int, ...], root: int) -> None:
        self._layers = layers
        self._root = root
        self._links: dict[tuple[int, int], str] = {}
        self._made: list[_Directory] = []

    def run(self) -> None:
        if not self._layers:
            return
        shown: list[int] = []
        for number, fd in enumerate(self._layers):
            shown.append(number)
            if _opaque(fd, "") == b"y":
                break
        pending = [_Directory("", tuple(shown))]
        while pending:
            directory = pending.pop()
            self._made.append(directory)
            pending += self._directory(directory)
        # Children first: to make an entry changes the directory's times, and a default ACL is inherited.
        for directory in reversed(self._made):
            self._finish(directory)

    def _directory(self, directory: _Directory) -> list[_Directory]:
        """Copy a directory's files; make and return the directories in it."""
        found: dict[str, _Found | None] = {}  # None: a file or a whiteout, which hides all below
        target = os.open(directory.path or ".", _DIRECTORY, dir_fd=self._root)
        try:
            for number in directory.layers:
                source = os.open(directory.path or ".", _DIRECTORY, dir_fd=self._layers[number])
                try:
                    self._layer(number, source, target, directory.path, found)
                finally:
                    os.close(source)
            inner: list[_Directory] = []
            for name, entry in found.items():
                if entry is not None:
                    os.mkdir(name, 0o700, dir_fd=target)
                    inner.append(_Directory(_join(directory.path, name), tuple(entry.layers)))
            return inner
        finally:
            os.close(target)

    def _layer(self, number: int, source: int, target: int, path: str, found: dict[str, _Found | None]) -> None:
        xattr_whiteouts = _opaque(source, "") == b"x"
        for name in os.listdir(source):
            known = found.get(name)
            if known is None and name in found:
                continue
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if known is None:
                    known = found[name] = _Found()
                if known.open:
                    known.layers.append(number)
                    known.open = _opaque(source, name) != b"y"
            elif known is not None:
                known.open = False
            else:
                found[name] = None
                if not _is_whiteout(source, name, status, xattr_whiteouts):
                    self._entry(number, source, target, name, _join(path, name), status)

    def _entry(self, number: int, source: int, target: int, name: str, path: str, status: os.stat_result) -> None:
        mode = status.st_mode
        key = (number, status.st_ino)
        if status.st_nlink > 1:
            first = self._links.get(key)
            if first is not None:
                os.link(first, name, src_dir_fd=self._root, dst_dir_fd=target, follow_symlinks=False)
                return
        if stat.S_ISREG(mode):
            _file(source, target, name, status)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            _owner(target, name, status)
            _times(target, name, status)
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            return  # none can be made in a user namespace; they are recorded with the layer
        else:
            os.mknod(name, mode, dir_fd=target)
            _owner(target, name, status)
            os.chmod(name, stat.S_IMODE(mode), dir_fd=target)
            _times(target, name, status)
        if status.st_nlink > 1:
            self._links[key] = path

    def _finish(self, directory: _Directory) -> None:
        """Give a directory what its topmost layer says of it."""
        source = os.open(directory.path or ".", _DIRECTORY, dir_fd=self._layers[directory.layers[0]])
        try:
            target = os.open(directory.path or ".", _DIRECTORY, dir_fd=self._root)
            try:
                _attributes(source, target, os.fstat(source), os.fstat(target))
            finally:
                os.close(target)
        finally:
            os.close(source)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _opaque(fd: int, name: str) -> bytes:
    try:
        return os.getxattr(f"/proc/self/fd/{fd}/{name}", _OPAQUE)
    except OSError as e:
        if e.errno in _NO_XATTRS:
            return b""
        raise


def _is_whiteout(fd: int, name: str, status: os.stat_result, xattr_whiteouts: bool) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    if not xattr_whiteouts or not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    try:
        os.getxattr(f"/proc/self/fd/{fd}/{name}", _WHITEOUT, follow_symlinks=False)
    except OSError as e:
        if e.errno in _NO_XATTRS:
            return False
        raise
    return True


def _file(source_dir: int, target_dir: int, name: str, status: os.stat_result) -> None:
    source = os.open(name, _READ, dir_fd=source_dir)
    try:
        target = os.open(name, _CREATE, stat.S_IMODE(status.st_mode) & 0o777, dir_fd=target_dir)
        try:
            if status.st_size:
                _data(source, target, status)
            _attributes(source, target, status, os.fstat(target))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _data(source: int, target: int, status: os.stat_result) -> None:
    size = status.st_size
    if status.st_blocks * 512 >= size:
        _range(source, target, 0, size)
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as e:
            if e.errno != errno.ENXIO:  # nothing but a hole up to the end
                raise
            break
        end = os.lseek(source, start, os.SEEK_HOLE)
        _range(source, target, start, end)
    os.ftruncate(target, size)


def _range(source: int, target: int, start: int, end: int) -> None:
    """Copy bytes, by reference where the file system can."""
    at = start
    while at < end:
        try:
            copied = os.copy_file_range(source, target, end - at, at, at)
        except OSError as e:
            if e.errno not in _NO_COPY:
                raise
            break
        if copied == 0:
            break
        at += copied
    while at < end:
        data = os.pread(source, min(end - at, 1 << 20), at)
        if not data:
            raise OSError(errno.EIO, "a layer's file is shorter than it says")
        at += os.pwrite(target, data, at)


def _attributes(source: int, target: int, status: os.stat_result, made: os.stat_result) -> None:
    # Owner before mode and attributes: chown(2) clears the set-user-ID bit and file capabilities.
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(target, status.st_uid, status.st_gid)
        made = os.fstat(target)
    for name in _attribute_names(source):
        if name.startswith(_OWN):
            continue
        os.setxattr(target, name, os.getxattr(source, name))
    if made.st_mode != status.st_mode:
        os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _attribute_names(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError as e:
        if e.errno in _NO_XATTRS:
            return []
        raise


def _owner(dir_fd: int, name: str, status: os.stat_result) -> None:
    made = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        os.chown(name, status.st_uid, status.st_gid, dir_fd=dir_fd, follow_symlinks=False)


def _times(dir_fd: int, name: str, status: os.stat_result) -> None:
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=dir_fd, follow_symlinks=False)
