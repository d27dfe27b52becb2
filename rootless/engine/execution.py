"""``rl exec``: ask the monitor for a further command and connect the caller to it."""

from __future__ import annotations

import _socket
import os

from rootless.container import spec
from rootless.container.compose import DEFAULT_PATH
from rootless.errors import RlError
from rootless.runtime import client, control
from rootless.tty import detach
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.container.record import ContainerRecord
    from rootless.container.request import ExecRequest
    from rootless.container.spec import Spec
    from rootless.runtime.control import Connection


def run(connection: Connection, directory: str, note: ContainerRecord, request: ExecRequest) -> int:
    """Run the command and return its exit code, or 0 for a detached one.

    Raises:
        RlError: it cannot be started.
    """
    keys = detach.parse(request.detach_keys)
    made = spec.load(directory)
    message = {
        "op": "exec",
        "arguments": list(request.command),
        "environment": list(environment(made, note, request)),
        "cwd": request.workdir or made.process.cwd,
        "user": request.user,
        "tty_size": list(request.tty_size or (24, 80)) if request.tty else None,
        "privileged": request.privileged,
    }
    if request.detach:
        # A terminal that nobody looks at would hang up at once.
        _ask(connection, {**message, "tty_size": None})
        _started(connection)
        return 0
    if request.tty:
        return _with_terminal(connection, message, request, keys)
    pipes = client.Pipes(stdin=request.interactive, tty=False)
    fds = list(pipes.far)
    _give_away(fds, note)
    if fds[0] < 0:
        fds[0] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    _ask(connection, message, fds)
    for fd in fds:
        os.close(fd)
    _started(connection)
    return client.Session(connection, pipes, tty=False, keys=b"", sig_proxy=False).run()


def _give_away(fds: list[int], note: ContainerRecord) -> None:
    """As real root: make the pipes the container root's, to whom our own id does not exist."""
    if os.geteuid() != 0:
        return
    from rootless.engine import ids as engine_ids
    from rootless.engine.starting import stranger

    ids = engine_ids.recorded(note.uid_map, note.gid_map, note.holder_uid_map, note.holder_gid_map)
    if stranger(ids):
        for fd in fds:
            if fd >= 0:
                os.fchown(fd, *ids.host_root)


def _with_terminal(connection: Connection, message: control.Message, request: ExecRequest, keys: bytes) -> int:
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    _ask(connection, message, (far.fileno(),))
    far.close()
    _started(connection)
    master = client.receive_master(near)
    pipes = client.Pipes.of_terminal(master, stdin=request.interactive)
    session = client.Session(connection, pipes, tty=True, keys=keys, sig_proxy=False, master=master)
    try:
        return session.run()
    except client.Detached:
        return 0


def _ask(connection: Connection, message: control.Message, fds: Sequence[int] = ()) -> None:
    try:
        connection.send(message, fds)
    except (BrokenPipeError, ConnectionResetError):
        return  # it ended, or turned us away; what is read next says so


def _started(connection: Connection) -> None:
    answer = connection.receive()
    if answer is None:
        raise RlError("the container ended before the command could start", hint="rl ps -a shows how")
    message, _ = answer
    if message["event"] == "error":
        raise control.revive(message)


def environment(made: Spec, note: ContainerRecord, request: ExecRequest) -> tuple[str, ...]:
    """Return the container's environment with the request's changes; HOME follows the user."""
    variables = {}
    for item in (f"PATH={DEFAULT_PATH}", *made.process.env):
        key, _, value = item.partition("=")
        variables[key] = value
    if request.user is not None and not any(item.startswith("HOME=") for item in note.request.environment):
        variables.pop("HOME", None)
    if request.tty:
        variables["TERM"] = "xterm"
    for item in request.environment:
        key, equals, value = item.partition("=")
        if equals:
            variables[key] = value
        else:
            variables.pop(key, None)
    return tuple(f"{key}={value}" for key, value in variables.items())
