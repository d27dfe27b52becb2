"""A full copy of the merged layers: slow and large, and works on every file system."""

from __future__ import annotations

import errno
import os

from fs.snapshot.driver import Rootfs, bring_here, make_directory, open_directory
from rootless.linux import mount as linux_mount
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


class Plain:
    """Every container has all files to itself."""

    name = "plain"

    def plan(self, container_dir: str, lowers: tuple[str, ...]) -> Rootfs:
        return Rootfs(self.name, lowers, "", "", f"{container_dir}/rootfs")

    def make(self, rootfs: Rootfs, owner: tuple[int, int] | None = None) -> None:
        make_directory(rootfs.root, 0o755, owner)

    def open_fill(self, rootfs: Rootfs) -> tuple[int, ...]:
        fds: list[int] = []
        try:
            fds.extend(map(open_directory, (*rootfs.lowers, rootfs.root)))
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return tuple(fds)

    def fill(self, rootfs: Rootfs, fds: tuple[int, ...]) -> None:
        from fs.snapshot.merge import merge

        readable: list[int] = []
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            readable.extend(os.open(f"/proc/self/fd/{fd}", flags) for fd in fds)
            merge(tuple(readable[:-1]), readable[-1])
        finally:
            for fd in readable:
                os.close(fd)

    def prepare(self, container_dir: str, lowers: tuple[str, ...]) -> Rootfs:
        rootfs = self.plan(container_dir, lowers)
        self.make(rootfs)
        fds = self.open_fill(rootfs)
        try:
            self.fill(rootfs, fds)
        finally:
            for fd in fds:
                os.close(fd)
        return rootfs

    def open(self, rootfs: Rootfs) -> tuple[int, ...]:
        return (open_directory(rootfs.root),)

    def mount(self, rootfs: Rootfs, fds: tuple[int, ...], target: str, readonly: bool) -> None:
        bring_here(rootfs.root, fds[-1])
        try:
            _attach(fds[-1], target, readonly)
        except OSError as e:
            if e.errno != errno.ENOSYS:
                raise
            _bind(fds[-1], target, readonly)


def _attach(source: int, target: str, readonly: bool) -> None:
    flags = linux_mount.OPEN_TREE_CLONE | linux_mount.OPEN_TREE_CLOEXEC | linux_mount.AT_EMPTY_PATH
    tree = linux_mount.open_tree(source, "", flags)
    try:
        if readonly:
            linux_mount.mount_setattr(tree, recursive=False, set_=linux_mount.MOUNT_ATTR_RDONLY)
        where = os.open(target, os.O_PATH | os.O_CLOEXEC)
        try:
            linux_mount.move_mount(tree, where)
        finally:
            os.close(where)
    finally:
        os.close(tree)


#: Flags that an outer namespace locks, by what statvfs(3) calls them; a remount must repeat them.
_LOCKED: Final = (
    (os.ST_NOSUID, linux_mount.MS_NOSUID),
    (os.ST_NODEV, linux_mount.MS_NODEV),
    (os.ST_NOEXEC, linux_mount.MS_NOEXEC),
    (os.ST_NOATIME, linux_mount.MS_NOATIME),
    (os.ST_NODIRATIME, linux_mount.MS_NODIRATIME),
    (os.ST_RELATIME, linux_mount.MS_RELATIME),
)


def _bind(source: int, target: str, readonly: bool) -> None:
    """Do the same before Linux 5.12; ``target`` then has to be a path, for its mount to be found again."""
    linux_mount.mount(f"/proc/self/fd/{source}", target, None, linux_mount.MS_BIND)
    if readonly:
        kept = os.fstatvfs(source).f_flag
        flags = sum(flag for seen, flag in _LOCKED if kept & seen)
        path = os.readlink(target) if target.startswith("/proc/self/fd/") else target
        linux_mount.mount(
            None, path, None, linux_mount.MS_BIND | linux_mount.MS_REMOUNT | linux_mount.MS_RDONLY | flags
        )


DRIVER: Final = Plain()
