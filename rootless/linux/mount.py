"""Mounts: mount(2), umount2(2), pivot_root(2), mount_setattr(2), fsopen(2) and its family."""

from __future__ import annotations

import ctypes
import os

from rootless.linux.libc import check, libc, syscall
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

MS_RDONLY: Final = 0x1  # linux/mount.h
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_NOSYMFOLLOW: Final = 0x100
MS_NOATIME: Final = 0x400
MS_NODIRATIME: Final = 0x800
MS_BIND: Final = 0x1000
MS_MOVE: Final = 0x2000
MS_REC: Final = 0x4000
MS_UNBINDABLE: Final = 0x20000
MS_PRIVATE: Final = 0x40000
MS_SLAVE: Final = 0x80000
MS_SHARED: Final = 0x100000
MS_RELATIME: Final = 0x200000
MS_STRICTATIME: Final = 0x1000000
MNT_DETACH: Final = 0x2
UMOUNT_NOFOLLOW: Final = 0x8

AT_RECURSIVE: Final = 0x8000  # linux/fcntl.h
AT_EMPTY_PATH: Final = 0x1000
MOUNT_ATTR_RDONLY: Final = 0x1  # linux/mount.h
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
FSOPEN_CLOEXEC: Final = 0x1
FSMOUNT_CLOEXEC: Final = 0x1
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_CMD_CREATE: Final = 6

# The same numbers on every architecture since Linux 5.2 (asm-generic/unistd.h).
_NR_OPEN_TREE: Final = 428
_NR_MOVE_MOUNT: Final = 429
_NR_FSOPEN: Final = 430
_NR_FSCONFIG: Final = 431
_NR_FSMOUNT: Final = 432
_NR_MOUNT_SETATTR: Final = 442
_NR_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, 41)

_mount = libc.mount
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = libc.umount2
_umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """Attach a file system, or change or bind a mount (mount(2)); ``data`` is at most a page long.

    Raises:
        PermissionError: EPERM - not allowed in this user namespace, or a lock of an outer one.
        OSError: EINVAL - a bad option, or a proc whose outer mount is masked.
    """
    check(
        _mount(
            None if source is None else os.fsencode(source),
            os.fsencode(target),
            None if fstype is None else fstype.encode(),
            flags,
            None if data is None else os.fsencode(data),
        )
    )


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """Detach the mount at ``target`` (umount2(2))."""
    check(_umount2(os.fsencode(target), flags))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of the mount namespace (pivot_root(2)); ``.`` and ``.`` stack them."""
    syscall(_NR_PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_setattr(fd: int, *, recursive: bool, set_: int = 0, clear: int = 0, propagation: int = 0) -> None:
    """Change attributes of the mount that ``fd`` refers to (mount_setattr(2), Linux 5.12).

    Attributes that an outer namespace locked stay; only clearing one is EPERM.
    """
    attributes = _MountAttr(set_, clear, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall(_NR_MOUNT_SETATTR, fd, b"", flags, ctypes.byref(attributes), ctypes.sizeof(attributes))


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """Return a descriptor of a mount, with OPEN_TREE_CLONE of a detached copy (open_tree(2), Linux 5.2)."""
    return syscall(_NR_OPEN_TREE, dirfd, os.fsencode(path), flags)


def move_mount(from_fd: int, to_fd: int, to_path: str = "") -> None:
    """Attach the detached mount ``from_fd`` at ``to_path`` under ``to_fd``, or on ``to_fd`` (move_mount(2))."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if to_path else MOVE_MOUNT_T_EMPTY_PATH)
    syscall(_NR_MOVE_MOUNT, from_fd, b"", to_fd, os.fsencode(to_path), flags)


def fsopen(fstype: str) -> int:
    """Begin configuring a new file system; return its descriptor (fsopen(2), Linux 5.2)."""
    return syscall(_NR_FSOPEN, fstype.encode(), FSOPEN_CLOEXEC)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    """Set a string option; values are cut at 256 bytes by the kernel (fsconfig(2))."""
    syscall(_NR_FSCONFIG, fd, FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)


def fsconfig_flag(fd: int, key: str) -> None:
    """Set an option without a value (fsconfig(2))."""
    syscall(_NR_FSCONFIG, fd, FSCONFIG_SET_FLAG, key.encode(), None, 0)


def fsconfig_create(fd: int) -> None:
    """Create the superblock that ``fd`` describes (fsconfig(2))."""
    syscall(_NR_FSCONFIG, fd, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """Return a detached mount of the file system that ``fd`` describes (fsmount(2))."""
    return syscall(_NR_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)
