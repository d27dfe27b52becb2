"""Containers on disk: making, finding, naming and letting go of their directories."""

from __future__ import annotations

import fcntl
import os

from rootless.container import names
from rootless.errors import Conflict, NotFound, RlError
from rootless.linux import pidfd
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.paths import Paths


def check_free(paths: Paths, name: str) -> None:
    """Say early that a name is taken; only ``take_name`` makes sure.

    Raises:
        Conflict: a container has it.
    """
    owner = _read_name(f"{paths.names}/{name}")[0]
    if owner is not None and os.path.isdir(f"{paths.containers}/{owner}"):
        raise _taken(name, owner)


def take_name(paths: Paths, wanted: str | None, id_: str) -> str:
    """Take a name for a container about to be published; return it.

    A creator that is killed in between leaves a name whose container does not exist, which counts as free.

    Raises:
        Conflict: another container has the name.
    """
    os.makedirs(paths.names, mode=0o700, exist_ok=True)
    if wanted is None:
        return _take_any(paths, id_)
    name = wanted.removeprefix("/")
    _take(paths, name, id_)
    return name


def publish(paths: Paths, staged: str, id_: str) -> None:
    """Make the complete staged container visible under its id."""
    os.makedirs(paths.containers, mode=0o700, exist_ok=True)
    os.rename(staged, f"{paths.containers}/{id_}")


def _take_any(paths: Paths, id_: str) -> str:
    for attempt in range(6):
        name = names.suggest(attempt)
        try:
            _take(paths, name, id_)
        except Conflict:
            continue
        return name
    _take(paths, id_[:12], id_)
    return id_[:12]


def _take(paths: Paths, name: str, id_: str) -> None:
    path = f"{paths.names}/{name}"
    # The link carries who takes the name: until the container is published, only the taker's life
    # tells a name in use from one left by a killed process.
    pid = os.getpid()
    text = f"{id_}.{pid}.{pidfd.start_time(pid)}"
    for _ in range(3):
        try:
            os.symlink(text, path)
            return
        except FileExistsError:
            pass
        with _Changing(paths):
            owner = _owner(paths, name)
            if owner is not None:
                raise _taken(name, owner)
    raise Conflict(f'Conflict. The container name "/{name}" is being taken by another command.')


class _Changing:
    """Holds the right to remove names: flock(2) on their directory, since a full disk takes no new file.

    Where the file system has no flock two processes may take one stale name, and the later has it.
    """

    def __init__(self, paths: Paths) -> None:
        self._fd = os.open(paths.names, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError:
            return

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _owner(paths: Paths, name: str) -> str | None:
    """Return who has a name, under the lock; one that a killed process left is removed."""
    path = f"{paths.names}/{name}"
    owner, pid, started = _read_name(path)
    if owner is None or os.path.isdir(f"{paths.containers}/{owner}") or pidfd.is_alive(pid, started):
        return owner
    os.unlink(path)
    return None


def sweep(paths: Paths) -> None:
    """Remove the names whose takers were killed before their containers were published."""
    try:
        found = os.listdir(paths.names)
    except FileNotFoundError:
        return
    for name in found:
        owner = _read_name(f"{paths.names}/{name}")[0]
        if owner is not None and not os.path.isdir(f"{paths.containers}/{owner}"):
            with _Changing(paths):
                _owner(paths, name)


def _taken(name: str, owner: str) -> Conflict:
    return Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
        hint=f"rl rm {name}, or choose another --name",
    )


def _read_name(path: str) -> tuple[str | None, int, int]:
    """Return whose name it is, and the taker's pid and start time."""
    try:
        id_, *taker = os.readlink(path).split(".")
    except FileNotFoundError:
        return None, 0, 0
    pid, started = (int(part) for part in taker) if len(taker) == 2 else (0, 0)
    return id_, pid, started


def release(paths: Paths, name: str, id_: str) -> None:
    """Free ``name`` if the container ``id_`` has it."""
    path = f"{paths.names}/{name}"
    with _Changing(paths):
        if _read_name(path)[0] == id_:
            os.unlink(path)


def ids(paths: Paths) -> list[str]:
    """Return the ids of all containers, in no order."""
    try:
        return os.listdir(paths.containers)
    except FileNotFoundError:
        return []


def find(paths: Paths, text: str) -> str:
    """Return the id of the container with this id, name or unique beginning of an id, in this order.

    Raises:
        NotFound: there is none.
        RlError: several ids begin so.
    """
    bare = text.removeprefix("/")
    if names.is_possible(bare):
        if len(bare) == 64 and os.path.isdir(f"{paths.containers}/{bare}"):
            return bare
        owner = _read_name(f"{paths.names}/{bare}")[0]
        if owner is not None and os.path.isdir(f"{paths.containers}/{owner}"):
            return owner
        matching = [id_ for id_ in ids(paths) if id_.startswith(bare)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise RlError(f"multiple IDs found with provided prefix: {bare}", hint="type more digits of the id")
    raise NotFound(f"No such container: {text}", hint="rl ps -a lists the containers there are")


def directory(paths: Paths, id_: str) -> str:
    """Return the directory of container ``id_``."""
    return f"{paths.containers}/{id_}"
