"""Further commands in a running container: forked by its monitor, so that they are in its cgroup and are reaped."""

from __future__ import annotations

import _socket
import errno
import os

from rootless.runtime import blame, control, launch, plan
from rootless.runtime.reactor import IN
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.runtime.child import SetupPlan
    from rootless.runtime.control import Connection, Message
    from rootless.runtime.prepared import Prepared
    from rootless.runtime.reactor import Reactor


class _Exec:
    """One command under way."""

    def __init__(self, client: Connection | None, steps: SetupPlan, pending: launch.Pending) -> None:
        self.client = client
        self.steps = steps
        self.pending = pending
        self.said = b""
        self.pid = 0
        self.pidfd = -1


class Execs:
    """The commands that ``rl exec`` started in one container."""

    def __init__(self, reactor: Reactor, prepared: Prepared) -> None:
        self._reactor = reactor
        self._prepared = prepared
        self._running: list[_Exec] = []

    def start(self, client: Connection, message: Message, received: list[int], namespaces: tuple[int, ...]) -> None:
        """Fork a command; the client hears ``started`` or ``error``, and ``exit`` at its end.

        ``received``: standard input, output and error; or with a terminal one socket that takes
        its master; or nothing for a detached command.
        """
        joining = plan.Joining(
            namespaces=namespaces,
            arguments=tuple(message["arguments"]),
            environment=tuple(message["environment"]),
            cwd=message["cwd"],
            user=message["user"],
            tty_size=tuple(message["tty_size"]) if message["tty_size"] else None,
            privileged=message["privileged"],
        )
        prepared = self._prepared
        steps = plan.join(prepared.spec, joining, prepared.situation.seccomp, prepared.situation.setgroups)
        terminal = None
        if joining.tty_size is not None:
            terminal = _socket.socket(fileno=received.pop())
        try:
            stdio = tuple(received)
            if len(stdio) != 3:
                received.append(null := os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
                stdio = (null, null, null)
            pending = launch.fork(steps, (stdio[0], stdio[1], stdio[2]), keep=namespaces, terminal=terminal)
        finally:
            for fd in received:
                os.close(fd)
        pending.namespaces.close()
        running = _Exec(client, steps, pending)
        self._running.append(running)
        self._reactor.watch(pending.status, IN, lambda: self._status(running))

    def _status(self, running: _Exec) -> None:
        data = os.read(running.pending.status, 4096)
        if data:
            running.said += data
            return
        self._reactor.forget(running.pending.status)
        os.close(running.pending.status)
        _, status = os.waitpid(running.pending.pid, 0)
        outcome = launch.parse(running.said, status)
        if outcome.failure is not None:
            if outcome.pid:
                launch.reap(outcome.pid)
            os.close(running.pending.alive)
            self._running.remove(running)
            error = blame.execution(running.steps, outcome.failure, self._prepared.record)
            self._tell(running, control.describe(error))
            return
        running.pid = outcome.pid
        running.pidfd = launch.watch(outcome.pid)
        self._reactor.watch(running.pidfd, IN, lambda: self._ended(running))
        self._tell(running, {"event": "started", "pid": outcome.pid})

    def _ended(self, running: _Exec) -> None:
        self._reactor.forget(running.pidfd)
        code = launch.reap(running.pid)
        os.close(running.pidfd)
        os.close(running.pending.alive)
        self._running.remove(running)
        self._tell(running, {"event": "exit", "code": code})

    def _tell(self, running: _Exec, message: Message) -> None:
        if running.client is None:
            return
        try:
            running.client.send(message)
        except OSError as e:
            if e.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            running.client = None

    def forget(self, client: Connection) -> None:
        """The client is gone; its commands go on."""
        for running in self._running:
            if running.client is client:
                running.client = None

    def end(self) -> None:
        """The container has ended, and with it every command in it; tell how."""
        for running in self._running.copy():
            if running.pid:
                self._ended(running)
