"""Kinds of file systems: statfs(2)."""

from __future__ import annotations

import ctypes
import os
from typing import Final

from rootless.linux.libc import check, libc

#: Name by f_type (linux/magic.h and the file systems' own headers).
NAMES: Final = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x794C7630: "overlay",
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x19830326: "beegfs",
    0x00C36400: "ceph",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0x61756673: "aufs",
    0x01021997: "9p",
    0xF15F: "ecryptfs",
    0x5346414F: "afs",
    0x53464846: "wslfs",
    0xCA451A4E: "bcachefs",
    0x73717368: "squashfs",
    0x65737546: "fuse",
    0x858458F6: "ramfs",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x5346544E: "ntfs",
    0x7366746E: "ntfs3",
}

_statfs = libc.statfs
_statfs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)


def file_system(path: str) -> str:
    """Return the name of the file system that ``path`` is on, or its number where it is not known here."""
    # f_type comes first and is a word; the whole struct has 120 bytes on 64-bit kernels.
    buffer = (ctypes.c_ulong * 64)()
    check(_statfs(os.fsencode(path), ctypes.addressof(buffer)))
    number = buffer[0] & 0xFFFFFFFF
    return NAMES.get(number, f"{number:#x}")
