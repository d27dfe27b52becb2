"""The caller's own terminal: is it one, how large is it, and raw mode that is always undone."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

IFLAG, OFLAG, CFLAG, LFLAG, ISPEED, OSPEED, CC = range(7)
_RAW_IFLAG: Final = (
    termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL
) | termios.IXON
_RAW_LFLAG: Final = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN


def size(fd: int) -> tuple[int, int]:
    """Return rows and columns of the terminal ``fd``; 24 and 80 where it does not know."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return (rows, columns) if rows and columns else (24, 80)


class RawMode:
    """Raw mode of a terminal for the length of a ``with`` (cfmakeraw(3)); does nothing where ``fd`` is none."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> RawMode:
        if os.isatty(self._fd):
            self._saved = termios.tcgetattr(self._fd)
            self._set()
        return self

    def _set(self) -> None:
        raw = termios.tcgetattr(self._fd)
        raw[IFLAG] &= ~_RAW_IFLAG
        raw[OFLAG] &= ~termios.OPOST
        raw[CFLAG] = raw[CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[LFLAG] &= ~_RAW_LFLAG
        raw[CC][termios.VMIN] = 1
        raw[CC][termios.VTIME] = 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, raw)

    def resume(self) -> None:
        """Set raw mode again, after the caller was stopped and the shell has reset the terminal."""
        if self._saved is not None:
            self._set()

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Tell the terminal ``fd`` its size, which signals those in its foreground (TIOCSWINSZ)."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
