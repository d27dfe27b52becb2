"""Filters of system calls: seccomp(2)."""

from __future__ import annotations

import ctypes
import os

from rootless.linux.libc import syscall
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

SECCOMP_SET_MODE_FILTER: Final = 1  # linux/seccomp.h
#: Keep speculation as it is: before Linux 5.16 a filter also slowed every program down.
SECCOMP_FILTER_FLAG_SPEC_ALLOW: Final = 1 << 2
_NR_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}.get(os.uname().machine, 277)
_INSTRUCTION_SIZE: Final = 8


class _Program(ctypes.Structure):
    """A struct sock_fprog (linux/filter.h)."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def set_filter(program: bytes, flags: int = 0) -> None:
    """Put the calling thread and its future children under a filter, for good (seccomp(2)).

    ``program`` is an array of struct sock_filter. The thread needs no_new_privs or CAP_SYS_ADMIN in
    its user namespace, so load it before capabilities are dropped, and have it allow what is still to do.

    Raises:
        PermissionError: EACCES - neither no_new_privs nor CAP_SYS_ADMIN.
        OSError: EINVAL - the program is invalid, or this kernel has no seccomp filters.
    """
    fprog = _Program(len(program) // _INSTRUCTION_SIZE, program)
    syscall(_NR_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(fprog))
