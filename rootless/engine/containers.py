"""What can be done with containers that exist."""

from __future__ import annotations

import os
import select
import sys

from rootless import log, paths
from rootless.container import record, signals, state, store
from rootless.errors import CommandError, Conflict, NotATerminal, NotFound, RlError, StoreError
from rootless.linux import pidfd
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

    from rootless.container.record import ContainerRecord
    from rootless.container.request import ExecRequest
    from rootless.container.state import ContainerState
    from rootless.paths import Paths
    from rootless.runtime.control import Connection, Message


_SIGKILL = 9
_SIGCONT = 18  # signal(7), the same on x86 and ARM


class ContainerView(NamedTuple):
    """A line of ``rl ps``; times are nanoseconds since 1970, 0 where it has not happened."""

    id: str
    name: str
    image: str
    command: tuple[str, ...]
    created: int
    state: str
    exit_code: int
    started: int
    finished: int
    labels: dict[str, str]
    ports: str


def list_containers(all: bool) -> tuple[ContainerView, ...]:  # noqa: A002  the option's name
    """Return the running containers, or all; those being removed meanwhile are left out."""
    where = paths.find()
    views = []
    for id_ in store.ids(where):
        directory = store.directory(where, id_)
        try:
            now = state.current(directory)
            if all or now.status == state.RUNNING:
                views.append(_view(record.load(directory), now))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except StoreError as e:
            log.say(e.message)  # one damaged record must not hide all others
    return tuple(views)


def _view(note: ContainerRecord, now: ContainerState) -> ContainerView:
    shown = now.status if not now.is_elsewhere() else f"running on {now.host}"
    return ContainerView(
        note.id,
        note.name,
        note.image,
        note.command,
        note.created,
        shown,
        now.exit_code,
        now.started,
        now.finished,
        note.labels,
        "",
    )


def resolve(name: str) -> str:
    """Return the id of a container by id, name or beginning of an id."""
    return store.find(paths.find(), name)


def _found(name: str) -> tuple[Paths, str, ContainerState]:
    where = paths.find()
    directory = store.directory(where, store.find(where, name))
    try:
        return where, directory, state.current(directory)
    except FileNotFoundError:
        raise NotFound(f"No such container: {name}") from None


class _Present:
    """Where another command removes the container meanwhile: it is not there, as it would be a moment later."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError) and str(error.filename).startswith(f"{paths.find().containers}/"):
            raise NotFound(f"No such container: {self._name}") from error


def _connect(directory: str, name: str, doing: str = "") -> Connection:
    """Connect to the monitor of a container that should run."""
    from rootless.runtime import control

    now = state.current(directory)
    id_ = os.path.basename(directory)
    if now.is_elsewhere():
        raise Conflict(f"container {id_} is running on host {now.host!r}", hint="type the command there")
    if now.status == state.RUNNING:
        try:
            return control.connect(directory)
        except (ConnectionRefusedError, FileNotFoundError):
            pass  # it ended at this moment
    raise Conflict(f"{doing}container {id_} is not running", hint=f"rl start {name}")


def start(names: tuple[str, ...], *, attach: bool, interactive: bool, detach_keys: str) -> int:
    """Start containers; with ``attach`` or ``interactive`` the one given is connected and its exit code returned."""
    from rootless.engine import create, starting
    from rootless.runtime.client import Detached
    from rootless.tty import console

    where = paths.find()
    paths.ensure_private(where.runtime)
    for name in names:
        with _Present(name):
            created = create.load(where, store.find(where, name))
            now = state.current(created.directory)
        if interactive and created.record.tty and not os.isatty(0):
            raise NotATerminal("the input device is not a TTY")
        if now.status == state.RUNNING and not now.is_elsewhere() and not (attach or interactive):
            continue  # as Docker: starting what runs is no error
        size = console.size(0) if created.record.tty and os.isatty(0) else None
        attachment = starting.Attachment(interactive, attach or interactive, True, detach_keys)
        try:
            with _Present(name):
                code = starting.start(created, attachment, size)
        except Detached:
            return 0
        except CommandError as e:
            raise RlError(e.message, hint=e.hint) from e
        if attach or interactive:
            return code
    return 0


def stop(name: str, timeout: int | None, signal: str | None) -> None:
    """Signal a container and kill it ``timeout`` seconds later (-1: never); one that is stopped is no error."""
    _, directory, now = _found(name)
    if now.status != state.RUNNING:
        return
    with _Present(name):
        note = record.load(directory)
    number = signals.number(signal or note.stop_signal)
    seconds = note.stop_timeout if timeout is None else timeout
    try:
        with _Present(name):
            connection = _connect(directory, name)
    except Conflict:
        if now.is_elsewhere():
            raise
        return
    _ask(connection, {"op": "stop", "number": number, "timeout": seconds})
    _await_exit(connection)


def kill(name: str, signal: str) -> None:
    """Send a signal to process 1 of a running container."""
    _, directory, now = _found(name)
    number = signals.number(signal)
    with _Present(name):
        connection = _connect(directory, name, f"cannot kill container: {name}: ")
    if number == _SIGKILL:
        _wake(now)
    _ask(connection, {"op": "signal", "number": number})
    connection.receive()
    connection.close()
    if number == _SIGKILL:
        wait(name)


def _wake(now: ContainerState) -> None:
    """Let a monitor that somebody has stopped go on: what is to end must not wait for it for ever."""
    monitor = _open_monitor(now)
    if monitor >= 0:
        pidfd.send_signal(monitor, _SIGCONT)
        os.close(monitor)


def _await_monitor(now: ContainerState) -> None:
    """Wait for the end of a monitor that was killed: its connections close before it counts as dead."""
    monitor = _open_monitor(now)
    if monitor >= 0:
        poll = select.poll()
        poll.register(monitor, select.POLLIN)
        poll.poll()
        os.close(monitor)


def _open_monitor(now: ContainerState) -> int:
    """Return a pidfd of the monitor, or -1 if it has ended."""
    try:
        monitor = pidfd.pidfd_open(now.monitor)
    except ProcessLookupError:
        return -1
    if pidfd.is_alive(now.monitor, now.monitor_start):
        return monitor
    os.close(monitor)
    return -1


def _ask(connection: Connection, message: Message, fds: tuple[int, ...] = ()) -> None:
    try:
        connection.send(message, fds)
    except (BrokenPipeError, ConnectionResetError):
        return  # it ended at this moment; what is read next says so


def _await_exit(connection: Connection) -> int | None:
    """Return the exit code once the container has ended; None if its monitor was killed."""
    from rootless.runtime import control

    while answer := connection.receive():
        message, _ = answer
        if message["event"] == "exit":
            connection.close()
            code: int = message["code"]
            return code
        if message["event"] == "error":
            raise control.revive(message)
    connection.close()
    return None


def wait(name: str) -> int:
    """Return the exit code of a container once it is not running."""
    _, directory, now = _found(name)
    if now.status == state.RUNNING:
        try:
            with _Present(name):
                connection = _connect(directory, name)
        except Conflict:
            if now.is_elsewhere():
                raise
        else:
            _ask(connection, {"op": "wait"})
            code = _await_exit(connection)
            if code is not None:
                return code
            _await_monitor(now)
    try:
        return state.current(directory).exit_code
    except FileNotFoundError:
        raise NotFound(f"No such container: {name}") from None


def remove(name: str, *, force: bool, volumes: bool) -> None:
    """Remove a container; ``force`` kills it first. Anonymous volumes go with it when there are any.

    Raises:
        Conflict: it is running, and ``force`` was not given.
    """
    where, directory, now = _found(name)
    if now.status == state.RUNNING:
        if now.is_elsewhere():
            raise Conflict(f"container {name} is running on host {now.host!r}", hint="remove it there")
        if not force:
            raise Conflict(
                f'cannot remove container "{name}": container is running: '
                "stop the container before removing or force remove",
                hint=f"rl rm -f {name}",
            )
        try:
            kill(name, "KILL")
        except (Conflict, NotFound):
            pass  # it ended by itself
    try:
        _remove(where, directory, force=force)
    except Conflict:
        # Another command has started it meanwhile.
        if not force or not _runs_here(directory):
            raise
        remove(name, force=True, volumes=volumes)
    except FileNotFoundError:
        if force:
            return
        raise NotFound(f"No such container: {name}") from None


def _runs_here(directory: str) -> bool:
    now = state.current(directory)
    return now.status == state.RUNNING and not now.is_elsewhere()


def _remove(where: Paths, directory: str, *, force: bool) -> None:
    from fs import flock, staging
    from rootless.engine import create, starting

    try:
        created = create.load(where, os.path.basename(directory))
    except StoreError:
        if not force:
            raise
        _remove_damaged(where, directory)
        return
    delete = starting.remove_tree(created)
    with starting.Startable(created), staging.taking(directory, where.tmp, delete):
        store.release(where, created.record.name, created.record.id)
    staging.sweep(where.tmp, delete)
    flock.sweep(where.data)
    store.sweep(where)


def _remove_damaged(where: Paths, directory: str) -> None:
    """Remove a container whose record cannot be read; its ids are taken to be those that a new one would have."""
    from fs import staging
    from rootless.engine import ids, starting

    delete = starting.remover(where, ids.decide(None))
    with staging.taking(directory, where.tmp, delete):
        pass
    store.sweep(where)


def logs(
    name: str,
    *,
    follow: bool,
    tail: int | None,
    since: int | None,
    until: int | None,
    timestamps: bool,
    stdout: int,
    stderr: int,
) -> None:
    """Copy the log to two descriptors; ``since`` and ``until`` are nanoseconds since 1970."""
    from rootless.engine import logview

    _, directory, now = _found(name)
    logview.show(
        directory,
        now,
        logview.Wanted(follow, tail, since, until, timestamps),
        (stdout, stderr),
    )


def attach(name: str, *, stdin: bool, sig_proxy: bool, detach_keys: str) -> int:
    """Connect the caller's terminal or files to a running container; return its exit code."""
    from rootless.runtime import client
    from rootless.tty import console, detach

    _, directory, now = _found(name)
    with _Present(name):
        note = record.load(directory)
    if now.status != state.RUNNING:
        raise Conflict("cannot attach to a stopped container, start it first", hint=f"rl start -a {name}")
    wants_stdin = stdin and note.open_stdin
    if wants_stdin and note.tty and not os.isatty(0):
        raise NotATerminal("the input device is not a TTY")
    keys = detach.parse(detach_keys)
    with _Present(name):
        connection = _connect(directory, name)
    pipes = client.Pipes(stdin=wants_stdin, tty=note.tty)
    streams = [stream for stream, end in zip(("stdin", "stdout", "stderr"), pipes.far, strict=True) if end >= 0]
    _ask(connection, {"op": "attach", "streams": streams}, tuple(pipes.hand_over()))
    pipes.close_far()
    if note.tty and os.isatty(1):
        rows, columns = console.size(1)
        _ask(connection, {"op": "resize", "rows": rows, "columns": columns})
    try:
        return client.Session(connection, pipes, tty=note.tty, keys=keys, sig_proxy=sig_proxy).run()
    except client.Detached:
        sys.stderr.write("read escape sequence\n")
        return 0


def exec_(request: ExecRequest) -> int:
    """Run a further command in a running container; return its exit code, or 0 if detached."""
    from rootless.engine import execution

    _, directory, _ = _found(request.container)
    with _Present(request.container):
        note = record.load(directory)
    if request.tty and request.interactive and not request.detach and not os.isatty(0):
        raise NotATerminal("the input device is not a TTY")
    with _Present(request.container):
        connection = _connect(directory, request.container)
        return execution.run(connection, directory, note, request)


def inspect(name: str) -> dict[str, Any]:
    """Return what is known of a container, in the shape of Docker's API."""
    from rootless.engine import inspection

    _, directory, now = _found(name)
    with _Present(name):
        return inspection.container(directory, record.load(directory), now)
