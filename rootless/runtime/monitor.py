"""The monitor: one process per running container, on whose life the container's depends.

It starts the container, moves its bytes, keeps its log and state, answers clients on the control
socket, forks what ``exec`` asks for, and leaves when the container has ended. One thread, no timers.
"""

from __future__ import annotations

import _signal
import errno
import fcntl
import gc
import os
import struct
import termios
import time

from fs.trouble import explain
from rootless.container import state as states
from rootless.container.state import ContainerState
from rootless.errors import Conflict, RlError
from rootless.linux import fd as fds
from rootless.linux import pidfd, prctl
from rootless.runtime import control, launch, logs, plan
from rootless.runtime.prepared import ClientEnds, Stdio
from rootless.runtime.reactor import IN, Reactor
from rootless.runtime.streams import Input, Output
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence
    from typing import NoReturn

    from rootless.runtime.control import Connection, Message
    from rootless.runtime.execs import Execs
    from rootless.runtime.prepared import Prepared

#: Seconds that clients which do not lead get to read the rest of the output of a container that has ended.
_GRACE = 10.0
#: Seconds after which a container counts as one that stays, and what its monitor may need later is loaded.
_SETTLED = 1.0


#: The container goes on where there is no descriptor, process or memory for one thing more.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.ECONNABORTED)


def spawn(prepared: Prepared, ends: ClientEnds) -> Connection:
    """Fork the monitor and return the caller's connection to it; its first message says how the start went."""
    ours, theirs = control.pair()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        _main(prepared, theirs, ends)
    theirs.close()
    for end in ends:
        if end >= 0:
            os.close(end)
    return ours


def _main(prepared: Prepared, client: Connection, ends: ClientEnds) -> NoReturn:
    """Run as the monitor and never return into the caller's code."""
    code = 1
    try:
        gc.enable()
        _become_daemon((client.fileno(), *(end for end in ends if end >= 0), *prepared.keep))
        Monitor(prepared, client, ends).run()
        code = 0
    except BaseException as e:
        _last_words(prepared.directory, client, e)
    finally:
        os._exit(code)


def _become_daemon(keep: tuple[int, ...]) -> None:
    """Leave the session, the directory and the descriptors of whoever started us."""
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    fds.close_all_but(keep)
    for number in range(1, 32):
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 1)


def _last_words(directory: str, client: Connection, error: BaseException) -> None:
    """Keep a failure of the monitor itself where a bug report can find it, and tell whoever started it."""
    path = f"{directory}/monitor.err"
    hint = f"see {path}"
    try:
        import traceback

        with open(path, "a") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        hint = "there was no place to write down where; run it again, without --rm"
    if isinstance(error, OSError):
        told: RlError = explain(error, directory)
    elif isinstance(error, RlError):
        told = error
    else:
        told = RlError(f"the container's monitor failed: {type(error).__name__}: {error}")
    told.hint = told.hint or hint
    try:
        client.send(control.describe(told))
    except OSError:
        return  # nobody is there any more


def _start_time(pid: int) -> int:
    """Return the start time of a child, 0 where it has ended before we looked; then nobody will ask for it."""
    try:
        return pidfd.start_time(pid)
    except ProcessLookupError:
        return 0


class Monitor:
    """The state of one running container."""

    def __init__(self, prepared: Prepared, client: Connection, ends: ClientEnds) -> None:
        self._prepared = prepared
        self._directory = prepared.directory
        self._record = prepared.record
        self._reactor = Reactor()
        self._outputs: dict[int, Output] = {}
        self._input: Input | None = None
        self._terminal = -1
        self._clients: dict[int, Connection] = {}
        self._waiting: list[Connection] = []
        self._execs: Execs | None = None
        self._exit_code: int | None = None
        self._done = False
        self._child = 0
        self._child_fd = -1
        self._namespaces: tuple[int, ...] = ()
        self._alive = -1
        self._reserve = -1
        self._first = client
        self._ends = ends
        self.state = ContainerState()

    def run(self) -> None:
        """Start the container and stay until it has ended and every leading client has its output."""
        try:
            self._log = logs.LogWriter(f"{self._directory}/log")
            self._listener = control.listen(self._directory)
            stdio = Stdio(self._record, self._prepared.owner)
            self._prepared.enter()
            self._start(stdio)
        except RlError as e:
            self._abandon(e)
            return
        except OSError as e:
            self._abandon(explain(e, self._directory))
            return
        self._accept(self._first)
        self._send(self._first, {"event": "started", "pid": self._child, "notes": list(self.state.notes)})
        self._waiting.append(self._first)
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._reactor.watch(self._listener.fileno(), IN, self._welcome)
        # A container that stays may outlive the installed version that this code is of.
        self._reactor.at(_SETTLED, self._get_execs)
        while not self._done:
            self._reactor.turn()
        self._finish()

    # ---- start

    def _start(self, stdio: Stdio) -> None:
        prepared, record = self._prepared, self._record
        steps = plan.container(prepared.spec, prepared.situation)
        pending = launch.fork(steps, stdio.far, maps=prepared.maps, keep=prepared.keep)
        outcome = launch.outcome(pending)
        for fd in set(stdio.far):
            os.close(fd)
        if outcome.failure is not None:
            if outcome.pid:
                launch.reap(outcome.pid)
            from rootless.runtime import blame

            raise blame.start(steps, outcome.failure, record)
        self._alive = pending.alive
        self._namespaces = launch.receive_namespaces(pending.namespaces)
        self._child = outcome.pid
        self._child_fd = launch.watch(self._child)
        for fd in prepared.keep:
            os.close(fd)
        self._connect_streams(pending.terminal, stdio)
        self._reactor.watch(self._child_fd, IN, self._exited)
        now = time.time_ns()
        self.state = ContainerState(
            status=states.RUNNING,
            pid=self._child,
            pid_start=_start_time(self._child),
            monitor=os.getpid(),
            monitor_start=pidfd.start_time(os.getpid()),
            host=os.uname().nodename,
            boot=pidfd.boot_id(),
            started=now,
            notes=outcome.notes,
        )
        states.save(self._directory, self.state)

    def _connect_streams(self, terminal: _socket.socket | None, stdio: Stdio) -> None:
        changed = self._check_done
        if terminal is not None:
            self._terminal = launch.receive_terminal(terminal)
            write_end = os.dup(self._terminal)
            os.set_inheritable(write_end, False)
            self._outputs[logs.STDOUT] = Output(self._reactor, self._terminal, logs.STDOUT, self._log, changed)
            self._input = Input(self._reactor, write_end, close_at_end=False)
        else:
            for stream, end in zip((logs.STDOUT, logs.STDERR), stdio.outputs, strict=True):
                self._outputs[stream] = Output(self._reactor, end, stream, self._log, changed)
            if stdio.stdin >= 0:
                self._input = Input(self._reactor, stdio.stdin, close_at_end=True)
        self._attach(self._first, self._ends)

    def _attach(self, client: Connection, ends: ClientEnds) -> None:
        # Who comes first holds the container back, as a pipe would; a second one that does not read must not.
        leads = not any(output.is_led for output in self._outputs.values())

        def dropped() -> None:
            self._send(client, {"event": "behind"})

        for stream, end in ((logs.STDOUT, ends.stdout), (logs.STDERR, ends.stderr)):
            if end < 0:
                continue
            if stream in self._outputs:
                self._outputs[stream].add(end, leads=leads, dropped=dropped)
            else:
                os.close(end)
        if ends.stdin >= 0:
            if self._input is not None:
                self._input.connect(ends.stdin)
            else:
                os.close(ends.stdin)

    def _abandon(self, error: RlError) -> None:
        """End a start that failed: nothing of it runs on, and the client hears why."""
        if self._child:
            pidfd.send_signal(self._child_fd, _signal.SIGKILL)
            launch.reap(self._child)
        try:
            self.state = states.load(self._directory)._replace(exit_code=error.exit_code, error=error.message)
            self._save_state()
            if self._record.auto_remove:
                self._prepared.forget()
        finally:
            self._send(self._first, control.describe(error))

    # ---- clients

    def _welcome(self) -> None:
        try:
            client = control.accept(self._listener)
        except BlockingIOError:
            return
        except OSError as e:
            if e.errno not in _EXHAUSTED:
                raise
            self._turn_away(e)
            return
        self._accept(client)

    def _turn_away(self, error: OSError) -> None:
        """Tell a client that there is no descriptor for it, through the one that is kept for that."""
        os.close(self._reserve)
        try:
            client = control.accept(self._listener)
            client.send(control.describe(explain(error, self._directory)))
            client.close()
        except OSError:
            pass  # it gave up
        finally:
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _accept(self, client: Connection) -> None:
        self._clients[client.fileno()] = client
        self._reactor.watch(client.fileno(), IN, lambda: self._hear(client))

    def _hear(self, client: Connection) -> None:
        if not client.feed():
            self._drop(client)
            return
        try:
            while taken := client.take():
                message, received = taken
                self._handle(client, message, received)
        except RlError as e:
            self._send(client, control.describe(e))
        except (KeyError, ValueError, TypeError) as e:
            self._send(client, control.describe(RlError(f"malformed request: {e!r}")))
        except OSError as e:
            if e.errno not in _EXHAUSTED:
                raise
            self._send(client, control.describe(explain(e, self._directory)))

    def _drop(self, client: Connection) -> None:
        if self._clients.pop(client.fileno(), None) is not None:
            self._reactor.forget(client.fileno())
            if client in self._waiting:
                self._waiting.remove(client)
            if self._execs is not None:
                self._execs.forget(client)
            client.close()

    def _send(self, client: Connection, message: Message, fds: Sequence[int] = ()) -> None:
        try:
            client.send(message, fds)
        except OSError as e:
            if e.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            self._drop(client)

    def _handle(self, client: Connection, message: Message, received: list[int]) -> None:
        match message["op"]:
            case "attach":
                ends = iter(received)
                wanted = message["streams"]
                self._attach(client, ClientEnds(*(next(ends) if name in wanted else -1 for name in ClientEnds._fields)))
                self._waiting.append(client)
                self._send(client, {"event": "attached"})
            case "wait":
                self._waiting.append(client)
            case "signal":
                self._signal(message["number"])
                self._send(client, {"event": "done"})
            case "stop":
                self._stop(message["number"], message["timeout"])
                self._waiting.append(client)
            case "resize":
                self._resize(message["rows"], message["columns"])
            case "broken":
                # The client's own output is gone, as in `rl run … | head`: the container learns it as
                # it would have without us between.
                if message["stream"] in self._outputs:
                    self._outputs[message["stream"]].end()
            case "exec":
                if self._exit_code is not None:
                    raise Conflict(f"container {self._record.id} is not running")
                self._get_execs().start(client, message, received, self._namespaces)
            case "network":
                kinds = plan.joined(self._prepared.spec)
                shared = [fd for name, fd in zip(kinds, self._namespaces, strict=True) if name == "net"]
                self._send(client, {"event": "network"}, shared)
            case other:
                raise RlError(f"unknown request {other!r}")

    def _get_execs(self) -> Execs:
        if self._execs is None:
            from rootless.runtime.execs import Execs

            self._execs = Execs(self._reactor, self._prepared)
        return self._execs

    def _signal(self, number: int) -> None:
        if self._exit_code is None:
            try:
                pidfd.send_signal(self._child_fd, number)
            except ProcessLookupError:
                return

    def _stop(self, number: int, timeout: float) -> None:
        self.state = self.state._replace(stopped_by_user=True)
        self._signal(number)
        if timeout >= 0:
            self._reactor.at(timeout, lambda: self._signal(_signal.SIGKILL))

    def _resize(self, rows: int, columns: int) -> None:
        output = self._outputs.get(logs.STDOUT)
        if self._terminal >= 0 and output is not None and not output.ended:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    # ---- end

    def _exited(self) -> None:
        self._reactor.forget(self._child_fd)
        self._exit_code = launch.reap(self._child)
        os.close(self._child_fd)
        os.close(self._alive)
        self.state = self.state._replace(
            status=states.EXITED, exit_code=self._exit_code, finished=time.time_ns(), pid=0, monitor=0
        )
        self._save_state()
        if self._input is not None:
            self._input.close()
        self._reactor.at(_GRACE, self._drop_slow)
        self._check_done()

    def _save_state(self) -> None:
        try:
            states.save(self._directory, self.state)
        except OSError as e:
            # Full or gone: the state reads as "monitor lost" then, which is the truth known on disk.
            if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT, errno.EIO):
                raise

    def _drop_slow(self) -> None:
        for output in self._outputs.values():
            output.drop_slow()

    def _check_done(self) -> None:
        flushed = all(output.flushed for output in self._outputs.values())
        self._done = self._exit_code is not None and flushed

    def _finish(self) -> None:
        self._log.close()
        self._listener.close()
        try:
            os.unlink(f"{self._directory}/monitor.sock")
        except FileNotFoundError:
            pass
        if self._record.auto_remove:
            self._prepared.forget()
        if self._execs is not None:
            self._execs.end()
        for client in self._waiting.copy():
            self._send(client, {"event": "exit", "code": self._exit_code})
