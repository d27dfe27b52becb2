"""Start a container that exists: everything its monitor needs is decided and loaded here, then it is forked."""

from __future__ import annotations

import _signal
import fcntl
import os

from fs import remove, staging
from idmap.plan import DIRECT, ONE
from rootless.container import state, store
from rootless.engine import ids as engine_ids
from rootless.engine.ids import Entry
from rootless.errors import Conflict, RlError
from rootless.isolation import capabilities
from rootless.isolation.seccomp import cache
from rootless.runtime import client, control, holder, monitor, plan
from rootless.runtime.prepared import ClientEnds, Prepared
from rootless.tty import detach
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rootless.container.record import ContainerRecord
    from rootless.engine.create import Created
    from rootless.engine.ids import Ids
    from rootless.paths import Paths
    from rootless.runtime.control import Connection


class Attachment(NamedTuple):
    """How the caller wants to be connected."""

    stdin: bool = False
    output: bool = False
    sig_proxy: bool = True
    detach_keys: str = "ctrl-p,ctrl-q"


def start(created: Created, attachment: Attachment, tty_size: tuple[int, int] | None = None) -> int:
    """Start the container and, if asked, stay connected until it ends; return its exit code, or 0.

    Raises:
        RlError: it runs already, or cannot be started.
        Detached: the detach keys were typed.
    """
    # From here until the session proxies signals none may end us: the container would run on unattended.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP))
    try:
        return _start(created, attachment, tty_size, before)
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _start(created: Created, attachment: Attachment, tty_size: tuple[int, int] | None, before: Iterable[int]) -> int:
    with Startable(created):
        keys = detach.parse(attachment.detach_keys)
        note = created.record
        pipes = None
        ends = ClientEnds()
        if attachment.output or attachment.stdin:
            pipes = client.Pipes(stdin=attachment.stdin and note.open_stdin, tty=note.tty)
            ends = ClientEnds(*pipes.far)
        connection = monitor.spawn(_prepare(created, tty_size), ends)
        _await_start(connection)
    if pipes is None:
        connection.close()
        return 0
    session = client.Session(connection, pipes, tty=note.tty, keys=keys, sig_proxy=attachment.sig_proxy)
    return session.run(before)


def _await_start(connection: Connection) -> None:
    answer = connection.receive()
    if answer is None:
        raise RlError(
            "the container's monitor died before it could start", hint="see monitor.err in the container's directory"
        )
    message, _ = answer
    if message["event"] == "error":
        raise control.revive(message)


class Startable:
    """Holds the right to start or remove a container, for as long as that takes; never while it runs."""

    def __init__(self, created: Created) -> None:
        self._created = created

    def __enter__(self) -> None:
        self._guard = Guard(self._created.directory)
        try:
            found = state.current(self._created.directory)
            if found.is_elsewhere():
                raise Conflict(
                    f"container {self._created.record.id} is running on host {found.host!r}",
                    hint="type the command there, or create another container here",
                )
            if found.status == state.RUNNING:
                raise Conflict(f"container {self._created.record.id} is already running")
        except BaseException:
            self._guard.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._guard.close()


class Guard:
    """flock(2) on a container's directory; it dies with its holder."""

    def __init__(self, directory: str) -> None:
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Let go."""
        # Not only close: a forked child may still have the same open file.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)


def _prepare(created: Created, tty_size: tuple[int, int] | None) -> Prepared:
    paths, note, made, ids, driver, rootfs = created
    held = engine_ids.hold(paths, ids)
    program = b""
    if made.seccomp != "unconfined":
        program = cache.program(f"{paths.runtime}/seccomp", capabilities.mask(made.process.capabilities))
    net_fd = _network(paths, note)
    situation = plan.Situation(
        driver=driver,
        rootfs=rootfs,
        net_fd=net_fd,
        tty_size=tty_size or (24, 80),
        seccomp=program,
        setgroups=may_setgroups(ids),
        inner_root=(note.root_uid, note.root_gid),
    )
    fds = tuple(fd for fd in ((held.user, held.net) if held else ()) + (net_fd,) if fd >= 0)

    def enter() -> None:
        if held is not None:
            holder.join(held, stranger(ids))

    return Prepared(
        directory=created.directory,
        record=note,
        spec=made,
        situation=situation,
        maps=ids.container.maps if ids.container.user_namespace else None,
        owner=ids.host_root if stranger(ids) else None,
        enter=enter,
        forget=_forget(created),
        keep=fds,
    )


def stranger(ids: Ids) -> tuple[int, int] | None:
    """Return the host's ids of the holder's root where our own id (real root's) does not exist there."""
    maps = ids.held.maps
    if not ids.container.user_namespace or maps.uids.to_inside(os.geteuid()) is not None:
        return None
    uid, gid = maps.uids.to_outside(0), maps.gids.to_outside(0)
    assert uid is not None and gid is not None  # root's own range maps 0
    return uid, gid


def may_setgroups(ids: Ids) -> bool:
    """Tell whether processes of the container may change their supplementary groups."""
    if ids.held.how != DIRECT:
        return ids.held.how != ONE
    # In a namespace around that denies it, it stays denied for all below (user_namespaces(7)).
    with open("/proc/self/setgroups") as file:
        return file.read().strip() != "deny"


def _network(paths: Paths, note: ContainerRecord) -> int:
    kind, _, other = note.network.partition(":")
    if kind != "container":
        return -1
    found = state.current(store.directory(paths, other))
    if found.status != state.RUNNING or found.is_elsewhere():
        raise Conflict(f"cannot join network of a non running container: {other}", hint=f"rl start {other[:12]}")
    # From its monitor: nobody else may look at a process 1 that is not dumpable.
    connection = control.connect(store.directory(paths, other))
    connection.send({"op": "network"})
    answer = connection.receive()
    connection.close()
    if answer is None:
        raise Conflict(f"cannot join network of a non running container: {other}", hint=f"rl start {other[:12]}")
    # Without a network of its own it shares the host's, as this one then does.
    return answer[1][0] if answer[1] else -1


def _forget(created: Created) -> Callable[[], None]:
    """Return what removes the container for ``--rm``; it runs in the monitor, which is in the namespace."""
    paths, note = created.paths, created.record

    def forget() -> None:
        try:
            with staging.taking(created.directory, paths.tmp):
                store.release(paths, note.name, note.id)
        except FileNotFoundError:
            return  # somebody was faster

    return forget


def remove_tree(created: Created) -> Callable[[str], None]:
    """Return what deletes trees with files of the container's ids, from outside its namespace."""
    return remover(created.paths, created.ids)


def remover(paths: Paths, ids: Ids) -> Callable[[str], None]:
    """Return what deletes trees with files of ``ids``."""
    entry = Entry(paths, ids)
    return lambda path: remove.tree(path, entry)
