"""Watch a directory for changes (inotify(7))."""

from __future__ import annotations

import ctypes
import os

from rootless.linux.libc import check, libc
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


IN_MODIFY: Final = 0x2  # linux/inotify.h
IN_CREATE: Final = 0x100
IN_MOVED_TO: Final = 0x80
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
_IN_CLOEXEC: Final = os.O_CLOEXEC
_IN_NONBLOCK: Final = os.O_NONBLOCK

_init1 = libc.inotify_init1
_init1.argtypes = (ctypes.c_int,)
_add_watch = libc.inotify_add_watch
_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


class Watch:
    """A descriptor that is readable after a change of the kinds in ``mask`` in the directory ``path``."""

    def __init__(self, path: str, mask: int) -> None:
        self.fd = check(_init1(_IN_CLOEXEC | _IN_NONBLOCK))
        try:
            check(_add_watch(self.fd, os.fsencode(path), mask))
        except OSError:
            os.close(self.fd)
            raise

    def drain(self) -> None:
        """Forget the changes seen so far; which they were does not matter to the caller."""
        try:
            while os.read(self.fd, 1 << 16):
                pass
        except BlockingIOError:
            return

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
