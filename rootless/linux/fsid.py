"""The ids by which the kernel judges access to files: setfsuid(2), setfsgid(2)."""

from __future__ import annotations

import ctypes

from rootless.linux.libc import libc

_setfsuid = libc.setfsuid
_setfsuid.argtypes = (ctypes.c_uint,)
_setfsgid = libc.setfsgid
_setfsgid.argtypes = (ctypes.c_uint,)


def setfsuid(uid: int) -> None:
    """Set the file-system uid; one that is not allowed is ignored, as setfsuid(2) reports nothing."""
    _setfsuid(uid)


def setfsgid(gid: int) -> None:
    """Set the file-system gid; one that is not allowed is ignored."""
    _setfsgid(gid)
