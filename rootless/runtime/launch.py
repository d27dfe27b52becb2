"""Fork a child that carries out a plan, write its id maps, and learn whether it reached exec.

The caller has one thread and stands in the user namespace that is the parent of the one to be
made (the holder's), with all capabilities there.
"""

from __future__ import annotations

import _socket
import array
import os

from rootless.linux import pidfd
from rootless.runtime import child
from rootless.runtime.kernel import Channel
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from idmap.ranges import UserMap


class StepFailed(Exception):
    """A step of a child failed: which one, with which errno, and about what."""

    def __init__(self, phase: int, index: int, number: int, text: str, subject: str) -> None:
        super().__init__(f"step {phase}.{index}: {text}: {subject}")
        self.phase = phase
        self.index = index
        self.errno = number
        self.text = text
        self.subject = subject


class Pending(NamedTuple):
    """A child under way: ``status`` becomes readable and ends when it has failed or reached exec.

    ``namespaces``: where its ``SendNamespaces`` step sends them.
    """

    pid: int
    status: int
    alive: int
    terminal: _socket.socket | None
    namespaces: _socket.socket


class Outcome(NamedTuple):
    """What a child said on its status pipe: the pid of the command, remarks, and the failure if any."""

    pid: int
    notes: tuple[str, ...]
    failure: StepFailed | None


def fork(
    plan: child.SetupPlan,
    stdio: tuple[int, int, int],
    *,
    maps: UserMap | None = None,
    keep: tuple[int, ...] = (),
    terminal: _socket.socket | None = None,
    alive: bool = True,
) -> Pending:
    """Fork the child and write its maps; return before it has reached exec.

    ``terminal``: where the plan's ``Terminal`` step sends the master; a socket pair is made if the
    plan has one and none is given, and its near end returned. ``alive``: a pipe whose write end
    the caller keeps, so that the child can tell whether the caller lives.
    """
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    near_end = None
    far_terminal = terminal
    if terminal is None and any(type(step).__name__ == "Terminal" for step in plan.inner):
        pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        near_end, far_terminal = _socket.socket(fileno=pair[0].detach()), pair[1]
    pipes: list[int] = []
    try:
        pipes += os.pipe()
        if alive:
            pipes += os.pipe()
        pid = os.fork()
    except OSError:
        for end in pipes:
            os.close(end)
        raise
    status_read, status_write, alive_read, alive_write = (*pipes, -1, -1)[:4]
    if pid == 0:
        channel = Channel(status_write, far.fileno(), alive_read, far_terminal.fileno() if far_terminal else -1)
        child.become(plan, channel, stdio, keep)
    os.close(status_write)
    far.close()
    if alive_read >= 0:
        os.close(alive_read)
    if far_terminal is not None:
        far_terminal.close()
    if maps is not None:
        _give_maps(near, pid, maps)
    return Pending(pid, status_read, alive_write, near_end, near)


def _give_maps(near: _socket.socket, pid: int, maps: UserMap) -> None:
    """Write the maps once the child stands in its namespace; if it failed before, its status says why."""
    if near.recv(1) != b"u":
        return
    for name, text in (("uid_map", maps.uids.text()), ("gid_map", maps.gids.text())):
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    near.send(b"m")


def outcome(pending: Pending) -> Outcome:
    """Read the status pipe to its end, reap the outer process, and say what happened. Blocks."""
    data = bytearray()
    while chunk := os.read(pending.status, 4096):
        data += chunk
    os.close(pending.status)
    _, wait_status = os.waitpid(pending.pid, 0)
    return parse(bytes(data), wait_status)


def parse(data: bytes, wait_status: int) -> Outcome:
    """Understand what a child wrote on its status pipe, given how its outer process ended."""
    pid, notes, failure = 0, [], None
    for line in data.decode(errors="surrogateescape").split("\n"):
        line = line.replace("\0", "\n")
        if line.startswith("P"):
            pid = int(line[1:])
        elif line.startswith("N"):
            notes.append(line[1:])
        elif line.startswith("F"):
            head, _, subject = line[1:].partition("\t")
            phase, index, number, text = head.split(" ", 3)
            failure = StepFailed(int(phase), int(index), int(number), text, subject)
    if pid == 0 and failure is None:
        code = os.waitstatus_to_exitcode(wait_status)
        failure = StepFailed(child.OUTER, 0, 0, f"the child ended early with {code}", "")
    return Outcome(pid, tuple(notes), failure)


def receive_terminal(near: _socket.socket) -> int:
    """Return the master that the ``Terminal`` step sent.

    Raises:
        ConnectionAbortedError: the child ended before.
    """
    received = _receive(near, 1)
    if not received:
        raise ConnectionAbortedError("the container sent no terminal")
    return received[0]


def receive_namespaces(near: _socket.socket) -> tuple[int, ...]:
    """Return what the ``SendNamespaces`` step of a child that has reached exec sent, in its order."""
    return _receive(near, 16)


def _receive(near: _socket.socket, most: int) -> tuple[int, ...]:
    """Take descriptors from a socket and close it (unix(7), SCM_RIGHTS)."""
    received = array.array("i")
    space = _socket.CMSG_SPACE(received.itemsize * most)
    _, ancillary, _, _ = near.recvmsg(1, space, _socket.MSG_CMSG_CLOEXEC)
    near.close()
    for _level, _kind, payload in ancillary:
        received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
    return tuple(received)


def reap(pid: int) -> int:
    """Wait for the child ``pid`` and return its exit code, 128+n for signal n."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def watch(pid: int) -> int:
    """Return a pidfd of a child; valid as long as the child is not reaped."""
    return pidfd.pidfd_open(pid)
