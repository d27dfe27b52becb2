"""Copy-on-write roots: what every driver does, and what they hand to each other.

A driver's verbs, in the order of a container's life:

    plan      host side, pure: which directories there will be
    make      host side: makes them, owned by the container's root
    fill      in the user namespace: the copy, where the driver makes one
    open      descriptors of what is mounted
    mount     in the new mount namespace: system calls only

``prepare`` is plan, make and fill in one, for a process in the namespace that can walk the paths itself.
"""

from __future__ import annotations

import os
import stat

from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final, Protocol
else:
    Protocol = object

_PATH: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Rootfs(NamedTuple):
    """What a container's root is made of: absolute paths of the host, not mounted yet.

    ``lowers`` has the topmost layer first. ``root`` is where the root is mounted, or the whole copy.
    """

    driver: str
    lowers: tuple[str, ...]
    upper: str
    work: str
    root: str


class Driver(Protocol):
    """A way to give a container a root of its own over shared layers."""

    name: str

    def plan(self, container_dir: str, lowers: tuple[str, ...]) -> Rootfs:
        """Decide the directories.

        Raises:
            HostUnsupported: this driver cannot do it; another can.
        """
        ...

    def make(self, rootfs: Rootfs, owner: tuple[int, int] | None = None) -> None:
        """Make the directories; ``owner`` is container root's uid and gid as the caller sees them."""
        ...

    def open_fill(self, rootfs: Rootfs) -> tuple[int, ...]:
        """Return O_PATH descriptors of what ``fill`` needs, opened on the host side; the caller closes them."""
        ...

    def fill(self, rootfs: Rootfs, fds: tuple[int, ...]) -> None:
        """Copy what has to be copied, as the root of the user namespace, through ``open_fill``'s descriptors."""
        ...

    def prepare(self, container_dir: str, lowers: tuple[str, ...]) -> Rootfs:
        """Plan, make and fill, as the root of the user namespace."""
        ...

    def open(self, rootfs: Rootfs) -> tuple[int, ...]:
        """Return O_PATH descriptors of what ``mount`` needs; the caller closes them.

        The kernel mounts only from the mount namespace that it mounts in: call it after unshare(CLONE_NEWNS)
        and, where the container's root may not walk the path, before changing ids. ``mount`` opens
        descriptors from before the unshare again, by path and in place.
        """
        ...

    def mount(self, rootfs: Rootfs, fds: tuple[int, ...], target: str, readonly: bool) -> None:
        """Mount the root on ``target``.

        Raises:
            OSError: what mount(2) says.
        """
        ...


def open_directory(path: str) -> int:
    """Return an O_PATH descriptor of the directory ``path``."""
    return os.open(path, _PATH)


def bring_here(path: str, fd: int) -> None:
    """Let ``fd`` be the same directory in the caller's mount namespace, where ``path`` leads to it.

    Mounts of another namespace are EINVAL for overlay and bind mounts (``check_mnt``, fs/namespace.c).
    """
    try:
        again = os.open(path, _PATH)
    except OSError:  # the container's root may not walk there; then ``fd`` itself must be of this namespace
        return
    try:
        if os.path.samestat(os.fstat(again), os.fstat(fd)):
            os.dup2(again, fd, inheritable=False)  # in its place: 500 layers leave no room for two each
    finally:
        os.close(again)


def make_directory(path: str, mode: int, owner: tuple[int, int] | None) -> None:
    """Make ``path`` with exactly ``mode`` and ``owner``; one that exists is changed to them."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    status = os.lstat(path)
    if owner is not None and owner != (status.st_uid, status.st_gid):
        os.chown(path, *owner, follow_symlinks=False)
        status = os.lstat(path)
    if stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)


def root_mode(lowers: tuple[str, ...]) -> int:
    """Return the mode that the root directory has."""
    return stat.S_IMODE(os.stat(lowers[0]).st_mode) if lowers else 0o755
