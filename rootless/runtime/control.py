"""Messages between a monitor and its clients: JSON in length-prefixed frames, descriptors beside them.

The socket lies in the container's directory, which only its owner can enter.
"""

from __future__ import annotations

import _socket
import array
import os
import struct

from rootless import codec, errors
from rootless.errors import RlError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    Message = dict[str, Any]

#: Large enough for an argument list of 2 MB (execve(2)).
MAX_MESSAGE: Final = 8 << 20
#: Before each message: its length, and how many descriptors are its own. Those of a message can
#: arrive together with the bytes of the one before (unix(7)).
_HEADER: Final = struct.Struct(">IB")
_MAX_FDS: Final = 8
_NAME: Final = "monitor.sock"


class Connection:
    """One end of a control socket. It owns the socket; received descriptors belong to the caller."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._fds: list[int] = []

    def fileno(self) -> int:
        """The descriptor, for poll(2)."""
        return self._sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message with descriptors.

        Raises:
            OSError: EPIPE or ECONNRESET - the other side is gone.
        """
        body = codec.dumps(message).encode()
        data = _HEADER.pack(len(body), len(fds)) + body
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self._sock.sendmsg([data], rights, _socket.MSG_NOSIGNAL)
        if sent < len(data):
            self._sock.sendall(data[sent:], _socket.MSG_NOSIGNAL)

    def feed(self) -> bool:
        """Read once what has arrived; False at the end of the connection."""
        size = array.array("i").itemsize * _MAX_FDS
        try:
            data, ancillary, _, _ = self._sock.recvmsg(1 << 16, _socket.CMSG_SPACE(size), _socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return True
        except ConnectionError:
            return False
        for _level, _kind, payload in ancillary:
            received = array.array("i")
            received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
            self._fds.extend(received)
        self._buffer += data
        return bool(data)

    def take(self) -> tuple[Message, list[int]] | None:
        """Return the next whole message and the descriptors that came with it, or None if there is none yet."""
        if len(self._buffer) < _HEADER.size:
            return None
        length, count = _HEADER.unpack_from(self._buffer)
        if length > MAX_MESSAGE:
            raise RlError(f"a control message of {length} bytes is too large")
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        fds, self._fds = self._fds[:count], self._fds[count:]
        if len(fds) < count:  # the kernel dropped those that there was no room for (unix(7), MSG_CTRUNC)
            for fd in fds:
                os.close(fd)
            raise RlError("too many open files", hint="start the container under a higher limit: ulimit -n 4096")
        return codec.loads(body), fds

    def receive(self) -> tuple[Message, list[int]] | None:
        """Wait for the next message; None if the other side is gone."""
        while True:
            if taken := self.take():
                return taken
            if not self.feed():
                return None

    def close(self) -> None:
        """Close the socket and descriptors that nobody took."""
        self._sock.close()
        for fd in self._fds:
            os.close(fd)
        self._fds = []


def pair() -> tuple[Connection, Connection]:
    """Return both ends of a new connection."""
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    return Connection(_socket.socket(fileno=one.detach())), Connection(_socket.socket(fileno=other.detach()))


def listen(directory: str) -> _socket.socket:
    """Return a listening socket in the container's directory; an old one is replaced.

    The address goes through /proc/self/fd, since unix(7) allows 108 bytes only.
    """
    dirfd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink(_NAME, dir_fd=dirfd)
        except FileNotFoundError:
            pass
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        sock.bind(f"/proc/self/fd/{dirfd}/{_NAME}")
        sock.listen(64)
        sock.setblocking(False)
        return sock
    finally:
        os.close(dirfd)


def accept(sock: _socket.socket) -> Connection:
    """Take a client in; the connection does not block the monitor on reading."""
    fd, _address = sock._accept()  # type: ignore[attr-defined]  # noqa: SLF001  socket.accept calls it
    os.set_inheritable(fd, False)
    return Connection(_socket.socket(fileno=fd))


def connect(directory: str) -> Connection:
    """Connect to the monitor of the container in ``directory``.

    Raises:
        ConnectionRefusedError, FileNotFoundError: there is no monitor.
    """
    dirfd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{dirfd}/{_NAME}")
        except OSError:
            sock.close()
            raise
        return Connection(sock)
    finally:
        os.close(dirfd)


def describe(error: RlError) -> Message:
    """Return the message that carries an error to a client."""
    return {"event": "error", "kind": type(error).__name__, "message": error.message, "hint": error.hint}


def revive(message: Message) -> RlError:
    """Return the error that ``describe`` packed."""
    kind = getattr(errors, message["kind"], RlError)
    if not (isinstance(kind, type) and issubclass(kind, RlError)):
        kind = RlError
    return kind(message["message"], hint=message["hint"])
