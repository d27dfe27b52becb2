"""The C library as system calls need it: typed once, errors raised as ``os`` raises them."""

from __future__ import annotations

import ctypes
import os

from rootless.typed import TYPE_CHECKING

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> int:
    """Return ``result``, or raise OSError with errno's meaning where it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if TYPE_CHECKING:
    from typing import Any

    Argument = int | ctypes.c_void_p | bytes | Any | None  # Any: what byref returns has no public name

_syscall = libc.syscall
_syscall.restype = ctypes.c_long


def syscall(number: int, *arguments: Argument) -> int:
    """Call the kernel by number (syscall(2)), for calls that old C libraries do not wrap.

    Integers are passed as C longs: a plain Python int would be cut to 32 bits.
    """
    return check(_syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
