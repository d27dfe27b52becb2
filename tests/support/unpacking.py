"""Unpack archives in tests: here, in a child with a user namespace, and look at what came out."""

from __future__ import annotations

import os
import pickle
import shutil
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from fs.extract import Extracted, extract
from idmap import apply
from idmap.ranges import IdMap, IdRange, UserMap
from rootless.errors import RlError
from rootless.linux import ns


class Chunks:
    """A stream that gives at most ``size`` bytes at once."""

    def __init__(self, data: bytes, size: int = 1 << 30) -> None:
        self._data = data
        self._size = size
        self._at = 0

    def read(self, n: int, /) -> bytes:
        chunk = self._data[self._at : self._at + min(n, self._size)]
        self._at += len(chunk)
        return chunk


def one_id(uid: int, gid: int) -> UserMap:
    """Return the map of container root to one user and group."""
    return UserMap(IdMap([IdRange(0, uid, 1)]), IdMap([IdRange(0, gid, 1)]))


def natural() -> UserMap:
    """Return what the caller can write without a namespace: all ids as root, else its own for root's."""
    if os.geteuid() == 0:
        every = IdMap([IdRange(0, 0, 0xFFFFFFFE)])
        return UserMap(every, every)
    return one_id(os.geteuid(), os.getegid())


def unpack(data: bytes, where: str, owners: UserMap | None = None, *, chunk: int = 1 << 30) -> Extracted:
    """Unpack ``data`` into the directory ``where``, made if it is missing."""
    os.makedirs(where, exist_ok=True)
    fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return extract(Chunks(data, chunk), fd, owners or natural())
    finally:
        os.close(fd)


def outcome(data: bytes, where: str) -> Extracted | RlError:
    """Unpack, and return the error if there is one."""
    try:
        return unpack(data, where)
    except RlError as e:
        return e


class Seen(NamedTuple):
    """What a test compares of one file."""

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    content: bytes
    xattrs: tuple[tuple[str, bytes], ...]
    group: str
    """The first name, in order, of the same inode."""


def look(root: str) -> dict[str, Seen]:
    """Return all that is beneath ``root``, by path; the root is ``""``."""
    seen: dict[str, Seen] = {}
    inodes: dict[tuple[int, int], str] = {}
    paths = [""]
    for top, directories, files in os.walk(os.fsencode(root)):
        inside = os.path.relpath(os.fsdecode(top), root)
        paths += [os.path.normpath(os.path.join(inside, os.fsdecode(name))) for name in directories + files]
    for path in sorted(paths):
        full = os.path.join(root, path) if path else root
        status = os.lstat(full)
        kind = stat.S_IFMT(status.st_mode)
        content = b""
        if kind == stat.S_IFREG:
            with open(full, "rb") as file:
                content = file.read()
        elif kind == stat.S_IFLNK:
            content = os.fsencode(os.readlink(full))
        names = os.listxattr(full, follow_symlinks=False)
        seen[path] = Seen(
            {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}.get(
                kind, "device"
            ),
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            0 if kind == stat.S_IFDIR else status.st_size,
            status.st_mtime_ns,
            content,
            tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in sorted(names)),
            inodes.setdefault((status.st_dev, status.st_ino), path),
        )
    return seen


def in_namespace(maps: UserMap, function: Callable[[], Any]) -> Any:
    """Call ``function`` as root of a new user namespace with ``maps``, in a child; return or raise what it does.

    What it returns travels through pickle.
    """
    ready_r, ready_w = os.pipe()
    go_r, go_w = os.pipe()
    result_r, result_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                ns.unshare(ns.CLONE_NEWUSER)
                os.write(ready_w, b"1")
                os.close(go_w)
                if os.read(go_r, 1) != b"1":
                    os._exit(1)
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                result: Any = (True, function())
            except BaseException as e:
                result = (False, e)
            with os.fdopen(result_w, "wb") as pipe:
                pickle.dump(result, pipe)
        finally:
            os._exit(0)
    for fd in (ready_w, go_r, result_w):
        os.close(fd)
    try:
        if os.read(ready_r, 1) == b"1":
            _write_maps(pid, maps)
            os.write(go_w, b"1")
        os.close(go_w)
        with os.fdopen(result_r, "rb") as pipe:
            good, value = pickle.load(pipe)
    finally:
        os.close(ready_r)
        os.waitpid(pid, 0)
    if not good:
        raise value
    return value


def _write_maps(pid: int, maps: UserMap) -> None:
    helpers = (shutil.which("newuidmap"), shutil.which("newgidmap"))
    if os.geteuid() and maps.uids.count > 1 and helpers[0] and helpers[1]:
        apply.with_helpers(pid, maps, helpers[0], helpers[1])
        return
    if os.geteuid():
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", maps.uids.text())
    _write(f"/proc/{pid}/gid_map", maps.gids.text())


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
