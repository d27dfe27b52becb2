"""A loop over poll(2): handlers by descriptor, and one deadline."""

from __future__ import annotations

import select
import time

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    Handler = Callable[[], object]

IN: Final = select.POLLIN
OUT: Final = select.POLLOUT


class Reactor:
    """Calls the handler of each descriptor that is ready; one thread, no timers but ``deadline``."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Handler] = {}
        self._deadline: float | None = None
        self._expired: Handler | None = None

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call ``handler`` whenever ``fd`` is ready for ``events`` or has failed or hung up."""
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``, if it is watched. A descriptor must be forgotten before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def at(self, seconds: float, handler: Handler) -> None:
        """Call ``handler`` once in ``seconds``, instead of what was set before."""
        self._deadline = time.monotonic() + seconds
        self._expired = handler

    def turn(self) -> None:
        """Wait until something is ready or due, and handle it."""
        timeout = None
        if self._deadline is not None:
            timeout = max(0, int((self._deadline - time.monotonic()) * 1000) + 1)
        for fd, _events in self._poll.poll(timeout):
            handler = self._handlers.get(fd)
            if handler is not None:  # an earlier handler of this turn may have forgotten it
                handler()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline, expired = None, self._expired
            if expired is not None:
                expired()
