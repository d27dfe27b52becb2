"""The near end of an attached container: the caller's terminal or files on one side, pipes to the monitor on the other.

No flag is changed on the caller's own descriptors: O_NONBLOCK would reach the shell behind them.
"""

from __future__ import annotations

import _signal
import _socket
import array
import errno
import os
import select

from rootless.errors import RlError
from rootless.runtime import control
from rootless.runtime.streams import enlarge
from rootless.tty import console
from rootless.tty.detach import DetachKeys
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Final

    from rootless.runtime.control import Connection

    Handler = Callable[[int, FrameType | None], object] | int | None

_CHUNK: Final = 1 << 16
_SPLICE: Final = 1 << 20
_NOT_PROXIED: Final = frozenset(
    (_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGURG, _signal.SIGPIPE, _signal.SIGWINCH)
) | {
    _signal.SIGTSTP,
    _signal.SIGTTIN,
    _signal.SIGTTOU,
    _signal.SIGCONT,
    _signal.SIGSEGV,
    _signal.SIGBUS,
    _signal.SIGFPE,
    _signal.SIGILL,
    _signal.SIGABRT,
    _signal.SIGTRAP,
    _signal.SIGSYS,
    32,
    33,
}
_FORCE_AFTER: Final = 3
_BEHIND: Final = b"rl: this end of attach was too slow, and was left out of a part of the output; rl logs has it all\n"


class Detached(Exception):
    """The person typed the detach keys."""


class GaveUp(RlError):
    """The person wanted out and did not wait for the container; Docker's client exits with 1."""

    exit_code = 1


class _Copy:
    """One direction: everything from a pipe to a descriptor of the caller's."""

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self.broken = False
        # From pipe to pipe the kernel moves pages and never blocks with this flag, whatever the
        # flags of the caller's descriptor: one slow reader then does not hold up the other stream.
        self._splices = True

    def move(self) -> bool:
        """Move what is there; False at the end of the stream or when the caller's side is gone.

        Raises:
            RlError: the caller's side takes no bytes, as a file on a full disk.
        """
        if self._splices:
            try:
                return os.splice(self.source, self.target, _SPLICE, flags=os.SPLICE_F_NONBLOCK) > 0
            except BlockingIOError:
                return True
            except OSError as e:
                if e.errno != errno.EINVAL:
                    return self._refused(e)
                self._splices = False  # a terminal, or a file that is appended to
        try:
            data = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return True
        except OSError as e:
            if e.errno != errno.EIO:  # of a terminal: nobody has it open any more
                raise
            return False
        try:
            write_all(self.target, data)
        except OSError as e:
            return self._refused(e)
        return bool(data)

    def _refused(self, error: OSError) -> bool:
        self.broken = True
        if error.errno in (errno.EPIPE, errno.EIO, errno.ECONNRESET):
            return False
        name = "standard error" if self.target == 2 else "standard output"
        raise RlError(
            f"cannot write to {name}: {os.strerror(error.errno or 0).lower()}",
            hint="the container goes on: rl ps shows it, rl logs what it printed",
        ) from error

    @property
    def waits_for_target(self) -> bool:
        return self._splices


def write_all(fd: int, data: bytes) -> None:
    """Write everything; a descriptor that somebody made non-blocking is waited for."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


class Pipes:
    """The pipes of one client. ``far`` are the ends for the container's side, which the caller hands over."""

    def __init__(self, *, stdin: bool, tty: bool) -> None:
        self.stdin = -1
        self.copies: list[_Copy] = []
        far: list[int] = [-1, -1, -1]
        if stdin:
            far[0], self.stdin = os.pipe()
        for number in (1,) if tty else (1, 2):
            source, far[number] = os.pipe()
            enlarge(source)
            self.copies.append(_Copy(source, number))
        self.far = (far[0], far[1], far[2])

    @classmethod
    def of_terminal(cls, master: int, *, stdin: bool) -> Pipes:
        """Return the two directions of a terminal whose master the client itself holds; -1 is one that has ended."""
        pipes = cls.__new__(cls)
        pipes.stdin = master if stdin else -1
        pipes.copies = [_Copy(master, 1)] if master >= 0 else []
        pipes.far = (-1, -1, -1)
        return pipes

    def hand_over(self) -> list[int]:
        """Return the far ends that there are, in order."""
        return [fd for fd in self.far if fd >= 0]

    def close_far(self) -> None:
        """Close the far ends once they were sent."""
        for fd in self.hand_over():
            os.close(fd)


class Session:
    """Pumps bytes, proxies signals and sizes, and ends with the exit code."""

    def __init__(
        self,
        connection: Connection,
        pipes: Pipes,
        *,
        tty: bool,
        keys: bytes,
        sig_proxy: bool,
        signal: Callable[[int], None] | None = None,
        master: int = -1,
    ) -> None:
        self._connection = connection
        self._pipes = pipes
        self._tty = tty
        self._keys = DetachKeys(keys)
        self._sig_proxy = sig_proxy and not tty
        self._signal = signal or self._send_signal
        self._master = master
        self._code: int | None = None
        self._interrupts = 0
        self._typed = memoryview(b"")
        if pipes.stdin >= 0:
            # Ours alone. Were we to block on it, nobody would take the output that the command must
            # get rid of before it reads on.
            os.set_blocking(pipes.stdin, False)
        self._poll = select.poll()
        self._stdin_watched = False

    def run(self, mask: Iterable[int] | None = None) -> int:
        """Return the exit code of the container or command.

        ``mask``: the signal mask to set once signals are proxied, if the caller has blocked some.

        Raises:
            Detached: the detach keys were typed.
            RlError: it could not be started, or its monitor is gone.
        """
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        old_wake = _signal.set_wakeup_fd(wake_write)
        caught = self._catch()
        if mask is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        try:
            with console.RawMode(0 if self._tty and self._pipes.stdin >= 0 else -1) as raw:
                self._raw = raw
                return self._loop(wake_read)
        finally:
            _signal.set_wakeup_fd(old_wake)
            for number, handler in caught:
                _signal.signal(number, handler)
            os.close(wake_read)
            os.close(wake_write)

    def _catch(self) -> list[tuple[int, Handler]]:
        numbers: list[int] = [_signal.SIGWINCH, _signal.SIGCONT] if self._tty else []
        if self._sig_proxy:
            numbers += [n for n in range(1, 65) if n not in _NOT_PROXIED]
        caught: list[tuple[int, Handler]] = []
        for number in numbers:
            if _signal.getsignal(number) == _signal.SIG_IGN:
                continue  # nohup ignores SIGHUP, and so do we
            caught.append((number, _signal.signal(number, _nothing)))
        return caught

    def _loop(self, wake: int) -> int:
        poll = self._poll
        poll.register(wake, select.POLLIN)
        poll.register(self._connection.fileno(), select.POLLIN)
        active = {copy.source: copy for copy in self._pipes.copies}
        for source in active:
            poll.register(source, select.POLLIN)
        self._watch_stdin()
        self._take_in()  # what came together with the answer to the start
        full: dict[int, _Copy] = {}
        while True:
            # Once the exit code is known all output is in the pipes: move what is there, and leave.
            events = poll.poll(None if self._code is None or full else 0)
            ready = any(fd in active and fd not in full for fd, _ in events)
            if self._code is not None and not full and not ready:
                return self._code
            for fd, event in events:
                if self._typed and fd == self._pipes.stdin and event & ~select.POLLIN:
                    self._pass_on()
                if fd == wake:
                    self._wake(os.read(wake, 512))
                elif fd == self._connection.fileno():
                    self._hear()
                elif fd == 0 and self._stdin_watched:
                    self._type()
                elif fd in full:
                    # The caller's side takes bytes again.
                    poll.unregister(fd)
                    copy = full.pop(fd)
                    poll.register(copy.source, select.POLLIN)
                elif fd in active and event & ~select.POLLOUT:
                    self._move(active, full, active[fd])

    def _move(self, active: dict[int, _Copy], full: dict[int, _Copy], copy: _Copy) -> None:
        if not copy.move():
            self._poll.unregister(copy.source)
            del active[copy.source]
            if copy.source == self._master:
                self._unwatch_stdin()
            else:
                os.close(copy.source)
            if copy.broken:
                self._try_send({"op": "broken", "stream": copy.target})
        elif copy.waits_for_target and not _writable(copy.target):
            self._poll.unregister(copy.source)
            self._poll.register(copy.target, select.POLLOUT)
            full[copy.target] = copy

    def _hear(self) -> None:
        if not self._connection.feed():
            self._poll.unregister(self._connection.fileno())
            if self._code is None:
                raise RlError(
                    "the container's monitor is gone", hint="rl ps -a shows what became of it, rl logs what it said"
                )
            return
        self._take_in()

    def _take_in(self) -> None:
        while taken := self._connection.take():
            message, _ = taken
            if message["event"] == "error":
                raise control.revive(message)
            if message["event"] == "behind":
                write_all(2, _BEHIND)
            if message["event"] == "exit":
                self._code = message["code"]
                self._unwatch_stdin()

    def _try_send(self, message: control.Message) -> None:
        try:
            self._connection.send(message)
        except OSError as e:
            if e.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise

    # ---- standard input

    def _watch_stdin(self) -> None:
        if self._pipes.stdin >= 0 and self._code is None:
            try:
                os.fstat(0)
            except OSError:  # the caller has closed it
                self._close_stdin()
                return
            self._poll.register(0, select.POLLIN)
            self._stdin_watched = True

    def _unwatch_stdin(self) -> None:
        if self._stdin_watched:
            self._poll.unregister(0)
            self._stdin_watched = False

    def _type(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError as e:
            if e.errno != errno.EIO:  # the terminal is gone, or we are in the background
                raise
            data = b""
        if not data:
            self._unwatch_stdin()
            self._close_stdin()
            return
        if self._tty:
            data, detached = self._keys.feed(data)
            if detached:
                raise Detached
        self._typed = memoryview(data)
        if not data or self._pass_on():
            return
        # A terminal's master is also what the output comes from.
        self._unwatch_stdin()
        reading = select.POLLIN if self._pipes.stdin == self._master else 0
        self._poll.register(self._pipes.stdin, select.POLLOUT | reading)

    def _pass_on(self) -> bool:
        """Write what was typed and is not yet taken; False where some is left."""
        was_full = not self._stdin_watched
        try:
            self._typed = self._typed[os.write(self._pipes.stdin, self._typed) :]
        except BlockingIOError:
            return False
        except OSError as e:
            if e.errno not in (errno.EPIPE, errno.EIO):
                raise
            self._typed = memoryview(b"")
            self._unwatch_stdin()
            if was_full and self._pipes.stdin != self._master:
                self._poll.unregister(self._pipes.stdin)
            self._close_stdin()
            return True
        if self._typed:
            return False
        if was_full:
            if self._pipes.stdin == self._master:
                self._poll.register(self._master, select.POLLIN)
            else:
                self._poll.unregister(self._pipes.stdin)
            self._watch_stdin()
        return True

    def _close_stdin(self) -> None:
        if self._pipes.stdin >= 0:
            if self._pipes.stdin != self._master:
                os.close(self._pipes.stdin)
            self._pipes.stdin = -1

    # ---- signals

    def _wake(self, numbers: bytes) -> None:
        for number in numbers:
            if number == _signal.SIGCONT:
                self._raw.resume()
                self._resize()
            elif number == _signal.SIGWINCH:
                self._resize()
            else:
                self._proxy(number)

    def _proxy(self, number: int) -> None:
        if number in (_signal.SIGINT, _signal.SIGTERM):
            self._interrupts += 1
            if self._interrupts >= _FORCE_AFTER:
                raise GaveUp(f"got {_FORCE_AFTER} SIGTERM/SIGINTs, forcefully exiting")
        self._signal(number)

    def _send_signal(self, number: int) -> None:
        self._try_send({"op": "signal", "number": number})

    def _resize(self) -> None:
        rows, columns = console.size(0)
        if self._master >= 0:
            console.set_size(self._master, rows, columns)
        else:
            self._try_send({"op": "resize", "rows": rows, "columns": columns})


def _nothing(_number: int, _frame: object) -> None:
    """Let a signal only write its number to the wake-up descriptor."""


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def receive_master(sock: _socket.socket) -> int:
    """Return the terminal that a command's ``Terminal`` step sends, or -1 if it ended before."""
    size = array.array("i").itemsize
    data, ancillary, _, _ = sock.recvmsg(1, _socket.CMSG_SPACE(size))
    sock.close()
    if not data or not ancillary:
        return -1
    received = array.array("i")
    received.frombytes(ancillary[0][2][:size])
    os.set_inheritable(received[0], False)
    return received[0]
