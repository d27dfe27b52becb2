"""What became of a container: its state on disk, and whether that is still true."""

from __future__ import annotations

import os

from rootless import codec
from rootless.linux import pidfd
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

CREATED = "created"
RUNNING = "running"
EXITED = "exited"

_SIGKILL = 9
_END_TIMEOUT = 5000  # milliseconds


class ContainerState(NamedTuple):
    """One version of ``state.json``.

    ``monitor`` and ``monitor_start`` name the process on whose life that of the container depends;
    times are nanoseconds since 1970, 0 where it has not happened. ``pid`` is that of process 1.
    """

    status: str = CREATED
    pid: int = 0
    pid_start: int = 0
    monitor: int = 0
    monitor_start: int = 0
    host: str = ""
    boot: str = ""
    exit_code: int = 0
    error: str = ""
    started: int = 0
    finished: int = 0
    stopped_by_user: bool = False
    notes: tuple[str, ...] = ()

    def is_elsewhere(self) -> bool:
        """Tell whether another host runs it (a store on a shared file system)."""
        # The same kernel is this host, whatever it calls itself now.
        return self.status == RUNNING and self.host != os.uname().nodename and self.boot != pidfd.boot_id()

    def is_lost(self) -> bool:
        """Tell whether it is written as running here but its monitor is gone, or the host was booted since."""
        if self.status != RUNNING or self.is_elsewhere():
            return False
        return self.boot != pidfd.boot_id() or not pidfd.is_alive(self.monitor, self.monitor_start)


def load(directory: str) -> ContainerState:
    """Read the state of the container in ``directory`` as it was written.

    Raises:
        FileNotFoundError: the container is being removed.
    """
    raw: dict[str, Any] = codec.load(f"{directory}/state.json")
    known = {key: raw[key] for key in ContainerState._fields if key in raw}
    if "notes" in known:
        known["notes"] = tuple(known["notes"])
    return ContainerState(**known)


def current(directory: str) -> ContainerState:
    """Return the state as it is now: a container whose monitor was killed ended with it (137)."""
    state = load(directory)
    if not state.is_lost():
        return state
    error = "the host was restarted"
    if state.boot == pidfd.boot_id():
        error = "monitor lost"
        _end(state.pid, state.pid_start)
    finished = os.stat(f"{directory}/state.json").st_mtime_ns
    return state._replace(status=EXITED, exit_code=137, error=error, pid=0, finished=finished)


def _end(pid: int, started: int) -> None:
    """End a container that outlived its monitor: a change of its user clears the death signal (prctl(2))."""
    if not pidfd.is_alive(pid, started):
        return
    import select

    try:
        fd = pidfd.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pidfd.is_alive(pid, started):  # still: what was opened is the container, not a successor
            pidfd.send_signal(fd, _SIGKILL)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(_END_TIMEOUT)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        os.close(fd)


def save(directory: str, state: ContainerState) -> None:
    """Replace the state on disk at once (rename(2))."""
    replace(f"{directory}/state.json", state._asdict())


def replace(path: str, value: object) -> None:
    """Write JSON under a temporary name and rename it to ``path``."""
    temporary = f"{path}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            data = codec.dumps(value).encode()
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
