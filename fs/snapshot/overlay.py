"""Overlayfs in a user namespace (Linux 5.11; Documentation/filesystems/overlayfs.rst)."""

from __future__ import annotations

import os

from fs.snapshot.driver import Rootfs, bring_here, make_directory, open_directory, root_mode
from rootless.errors import HostUnsupported
from rootless.linux import mount as linux_mount
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

MAX_LOWERS: Final = 500  # OVL_MAX_STACK, fs/overlayfs/super.c
_MAX_OPTIONS: Final = 4095  # bytes: mount(2) copies one page, which ends in NUL


class Overlay:
    """Writes go to ``upper``; nothing is copied until it is changed."""

    name = "overlay"

    def plan(self, container_dir: str, lowers: tuple[str, ...]) -> Rootfs:
        if len(lowers) > MAX_LOWERS:
            raise HostUnsupported(
                f"the image has {len(lowers)} layers; overlayfs takes {MAX_LOWERS}",
                hint="use --storage-driver plain",
            )
        # An image without layers still needs a lower directory.
        lowers = lowers or (f"{container_dir}/lower",)
        return Rootfs(self.name, lowers, f"{container_dir}/upper", f"{container_dir}/work", f"{container_dir}/rootfs")

    def make(self, rootfs: Rootfs, owner: tuple[int, int] | None = None) -> None:
        empty = f"{os.path.dirname(rootfs.upper)}/lower"
        if rootfs.lowers == (empty,):
            make_directory(empty, 0o755, owner)
        # The upper directory is the root directory that the container sees.
        make_directory(rootfs.upper, root_mode(rootfs.lowers), owner)
        make_directory(rootfs.work, 0o700, owner)
        make_directory(rootfs.root, 0o755, owner)

    def open_fill(self, rootfs: Rootfs) -> tuple[int, ...]:
        return ()

    def fill(self, rootfs: Rootfs, fds: tuple[int, ...]) -> None:
        pass

    def prepare(self, container_dir: str, lowers: tuple[str, ...]) -> Rootfs:
        rootfs = self.plan(container_dir, lowers)
        self.make(rootfs)
        return rootfs

    def open(self, rootfs: Rootfs) -> tuple[int, ...]:
        fds: list[int] = []
        try:
            fds.extend(map(open_directory, (*rootfs.lowers, rootfs.upper, rootfs.work)))
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return tuple(fds)

    def mount(self, rootfs: Rootfs, fds: tuple[int, ...], target: str, readonly: bool) -> None:
        paths = (*rootfs.lowers, rootfs.upper, rootfs.work)
        for path, fd in zip(paths, fds, strict=True):
            bring_here(path, fd)
        flags = linux_mount.MS_RDONLY if readonly else 0
        options = _options("/proc/self/fd/", fds)
        if len(options) <= _MAX_OPTIONS:
            linux_mount.mount("overlay", target, "overlay", flags, options)
        else:
            _mount_from_fd_directory(target, flags, fds)


def _options(prefix: str, fds: tuple[int, ...]) -> str:
    # Names of descriptors: no path of the host, with its commas and colons, is ever in the options.
    # Without userxattr the mount succeeds and ignores every opaque directory.
    names = [f"{prefix}{fd}" for fd in fds]
    return f"userxattr,lowerdir={':'.join(names[:-2])},upperdir={names[-2]},workdir={names[-1]}"


def _mount_from_fd_directory(target: str, flags: int, fds: tuple[int, ...]) -> None:
    """Mount with the current directory in /proc/self/fd: 4 bytes a layer, so that 500 fit into the page."""
    target_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir("/proc/self/fd")
        linux_mount.mount("overlay", f"/proc/self/fd/{target_fd}", "overlay", flags, _options("", fds))
    finally:
        os.fchdir(before)
        os.close(before)
        os.close(target_fd)


DRIVER: Final = Overlay()
