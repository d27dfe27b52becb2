"""A terminal with a program on it, as a person sees it: type, and wait for what appears."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence
from typing import Any

#: Seconds after which what was waited for counts as missing.
PATIENCE = 10.0
_TIOCGPTPEER = 0x5441  # asm-generic/ioctls.h


class Screen:
    """A pseudo-terminal of our own in whose foreground ``argv`` runs, as the leader of a session (pty(7))."""

    def __init__(
        self, argv: Sequence[str], *, env: dict[str, str], cwd: str, rows: int = 30, columns: int = 100
    ) -> None:
        self.seen = b""
        self._unread = 0
        self._code: int | None = None
        # Kept open, so that what the program left the terminal in can be looked at after its end.
        self._slave = -1
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.chdir(cwd)
                os.execvpe(argv[0], list(argv), env)
            finally:
                os._exit(127)
        self._slave = fcntl.ioctl(self.master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
        self.before = self.settings()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.hang_up()

    def settings(self) -> list[Any]:
        """Return the terminal's settings (tcgetattr(3))."""
        return termios.tcgetattr(self._slave)

    @property
    def is_raw(self) -> bool:
        """Whether the program reads keys as they come, without echo."""
        return not self.settings()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def type(self, keys: str | bytes) -> None:
        """Type; a line ends in a carriage return, as the Return key sends it."""
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def line(self, text: str) -> None:
        """Type a line."""
        self.type(text + "\r")

    def resize(self, rows: int, columns: int) -> None:
        """Change the size, which signals the foreground (TIOCSWINSZ)."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: str | bytes) -> str:
        """Wait until ``text`` appears behind what was expected before; return what stands before it.

        Raises:
            AssertionError: it does not appear, or the program ends before.
        """
        wanted = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + PATIENCE
        while (at := self.seen.find(wanted, self._unread)) < 0:
            assert self._read(deadline), f"{wanted!r} did not appear; seen: {self.seen[self._unread :]!r}"
        before = self.seen[self._unread : at]
        self._unread = at + len(wanted)
        return before.decode(errors="replace")

    def until_raw(self) -> None:
        """Wait until the program has taken the terminal over."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_raw:
            assert time.monotonic() < deadline, f"the terminal is not raw; seen: {self.seen!r}"
            assert self._code is None
            select.select([self.master], [], [], 0.02)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:  # EIO: the last user of the other side is gone
            return False
        self.seen += data
        return bool(data)

    def wait(self) -> int:
        """Wait for the program's end and return its exit code, 128+n for signal n; what it prints is kept."""
        if self._code is None:
            fd = os.pidfd_open(self.pid)
            deadline = time.monotonic() + PATIENCE
            try:
                while True:
                    ready, _, _ = select.select([fd, self.master], [], [], max(0.0, deadline - time.monotonic()))
                    assert ready, f"it has not ended; seen: {self.seen[self._unread :]!r}"
                    if self.master in ready:
                        self._read(deadline)
                    if fd in ready:
                        break
            finally:
                os.close(fd)
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self._code = 128 - code if code < 0 else code
            while select.select([self.master], [], [], 0)[0] and self._read(time.monotonic()):
                pass
        return self._code

    def hang_up(self) -> None:
        """Take the terminal away, as when its window is closed."""
        for fd in (self._slave, self.master):
            if fd >= 0:
                os.close(fd)
        self._slave = self.master = -1
