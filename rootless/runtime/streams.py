"""How bytes travel through the monitor: from the container to its log and its clients, and back in."""

from __future__ import annotations

import errno
import fcntl
import os

from rootless.runtime.reactor import IN, OUT
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from rootless.runtime.logs import LogWriter
    from rootless.runtime.reactor import Reactor

_CHUNK: Final = 1 << 16
#: How many bytes a client that does not lead may fall behind before it is dropped.
MAX_BEHIND: Final = 1 << 20
_PIPE_SIZE: Final = 1 << 18
F_SETPIPE_SZ: Final = 1031  # linux/fcntl.h


def enlarge(pipe: int) -> None:
    """Let a pipe hold 256 KB; where the user's share of pipe memory is used up it stays as it is (pipe(7))."""
    try:
        fcntl.fcntl(pipe, F_SETPIPE_SZ, _PIPE_SIZE)
    except PermissionError:
        return


def _nothing() -> None:
    """Be told, and do nothing about it."""


class Sink:
    """A client's pipe for one stream. The one that ``leads`` holds the container back; others are dropped."""

    def __init__(
        self, reactor: Reactor, fd: int, *, leads: bool, drained: Callable[[], None], dropped: Callable[[], None]
    ) -> None:
        os.set_blocking(fd, False)
        self._reactor = reactor
        self._fd = fd
        self._pending = bytearray()
        self._drained = drained
        self._dropped = dropped
        self.leads = leads
        self.gone = False

    @property
    def pending(self) -> bool:
        """Whether the client has not yet taken all that was sent."""
        return bool(self._pending)

    @property
    def blocks(self) -> bool:
        """Whether the container must wait for this client."""
        return self.leads and bool(self._pending)

    def send(self, data: bytes) -> None:
        """Write what goes at once and keep the rest."""
        if self.gone:
            return
        if self._pending:
            self._pending += data
            if not self.leads and len(self._pending) > MAX_BEHIND:
                self.drop()
            return
        written = self._write(data)
        if written < len(data) and not self.gone:
            self._pending += data[written:]
            self._reactor.watch(self._fd, OUT, self._flush)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as e:
            if e.errno not in (errno.EPIPE, errno.EIO):
                raise
            self.close()
            return 0

    def _flush(self) -> None:
        written = self._write(self._pending)
        if self.gone:
            self._drained()
            return
        del self._pending[:written]
        if not self._pending:
            self._reactor.forget(self._fd)
            self._drained()

    def drop(self) -> None:
        """Let go of a client that has not read what was left for it, and tell it so."""
        self.close()
        self._dropped()

    def close(self) -> None:
        """Let the client see the end of the stream."""
        if not self.gone:
            self.gone = True
            self._pending.clear()
            self._reactor.forget(self._fd)
            os.close(self._fd)


class Output:
    """One stream of the container: logged, and sent to every sink. Owns ``fd``."""

    def __init__(self, reactor: Reactor, fd: int, stream: int, log: LogWriter, changed: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._reactor = reactor
        self._fd = fd
        self._stream = stream
        self._log = log
        self._sinks: list[Sink] = []
        self._changed = changed
        self._watched = False
        self.ended = False
        self._resume()

    def add(self, fd: int, *, leads: bool, dropped: Callable[[], None] = _nothing) -> Sink:
        """Send the stream to the pipe ``fd`` from now on; the sink owns it.

        ``dropped``: called where it does not lead and is too slow.
        """
        sink = Sink(self._reactor, fd, leads=leads, drained=self._resume, dropped=dropped)
        if self.ended:
            sink.close()
        else:
            self._sinks.append(sink)
        return sink

    @property
    def is_led(self) -> bool:
        """Whether there is a client that the container waits for."""
        return any(sink.leads and not sink.gone for sink in self._sinks)

    @property
    def flushed(self) -> bool:
        """Whether the stream has ended and every client has all of it."""
        return self.ended and not self._sinks

    def _resume(self) -> None:
        if self.ended:
            for sink in self._sinks:
                if not sink.pending:
                    sink.close()
        self._sinks = [sink for sink in self._sinks if not sink.gone]
        if self.ended:
            self._changed()
            return
        blocked = any(sink.blocks for sink in self._sinks)
        if blocked == self._watched:
            self._watch(not blocked)

    def _watch(self, on: bool) -> None:
        # Not watching at all, rather than for nothing: poll(2) would report a hang-up over and over.
        self._watched = on
        if on:
            self._reactor.watch(self._fd, IN, self._readable)
        else:
            self._reactor.forget(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError as e:
            if e.errno != errno.EIO:  # the last slave of a terminal was closed
                raise
            data = b""
        if not data:
            self.end()
            return
        self._log.write(self._stream, data)
        for sink in self._sinks:
            sink.send(data)
        self._resume()

    def end(self) -> None:
        """Stop reading; a container that goes on writing gets EPIPE."""
        if not self.ended:
            self.ended = True
            if self._watched:
                self._watch(False)
            os.close(self._fd)
            self._resume()

    def drop_slow(self) -> None:
        """Let go of the clients that do not lead and have not read what was left for them."""
        for sink in self._sinks:
            if not sink.leads:
                sink.drop()
        self._resume()


class Input:
    """The container's standard input, fed by one client's pipe at a time. Owns both descriptors."""

    def __init__(self, reactor: Reactor, fd: int, *, close_at_end: bool) -> None:
        os.set_blocking(fd, False)
        self._reactor = reactor
        self._fd = fd
        self._source = -1
        self._pending = b""
        self._close_at_end = close_at_end
        self.closed = False

    def connect(self, source: int) -> None:
        """Read from the client's pipe ``source`` from now on; an earlier client's is let go of."""
        self.disconnect()
        if self.closed:
            os.close(source)
            return
        os.set_blocking(source, False)
        self._source = source
        if not self._pending:
            self._reactor.watch(source, IN, self._readable)

    def disconnect(self) -> None:
        """Let go of the client's pipe, without closing the container's input."""
        if self._source >= 0:
            self._reactor.forget(self._source)
            os.close(self._source)
            self._source = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.disconnect()
            if self._close_at_end:
                self.close()
            return
        self._pending = data
        self._reactor.forget(self._source)
        self._reactor.watch(self._fd, OUT, self._writable)
        self._writable()

    def _writable(self) -> None:
        try:
            written = os.write(self._fd, self._pending)
        except BlockingIOError:
            return
        except OSError as e:
            if e.errno not in (errno.EPIPE, errno.EIO):
                raise
            self.close()
            return
        self._pending = self._pending[written:]
        if not self._pending:
            self._reactor.forget(self._fd)
            if self._source >= 0:
                self._reactor.watch(self._source, IN, self._readable)

    def close(self) -> None:
        """Let the container see the end of its input."""
        self.disconnect()
        if not self.closed:
            self.closed = True
            self._reactor.forget(self._fd)
            os.close(self._fd)
