"""Containers on disk: making, finding, naming and letting go of their directories."""

from __future__ import annotations

import os

from rootless.container import names
from rootless.errors import Conflict, NotFound, RlError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.paths import Paths


def check_free(paths: Paths, name: str) -> None:
    """Say early that a name is taken; only ``take_name`` makes sure.

    Raises:
        Conflict: a container has it.
    """
    owner, _ = _read_name(f"{paths.names}/{name}")
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
    text = f"{id_}.{os.getpid()}"
    for _ in range(3):
        try:
            os.symlink(text, path)
            return
        except FileExistsError:
            pass
        owner, taker = _read_name(path)
        if owner is None:
            continue
        if os.path.isdir(f"{paths.containers}/{owner}") or _is_running(taker):
            raise _taken(name, owner)
        # A stale link is moved aside by its exact text's finder; a racing finder sees it gone.
        stale = f"{path}.stale.{os.getpid()}"
        try:
            os.rename(path, stale)
        except FileNotFoundError:
            continue
        os.unlink(stale)
    raise Conflict(f'Conflict. The container name "/{name}" is being taken by another command.')


def _taken(name: str, owner: str) -> Conflict:
    return Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
        hint=f"rl rm {name}, or choose another --name",
    )


def _read_name(path: str) -> tuple[str | None, int]:
    try:
        id_, _, pid = os.readlink(path).partition(".")
    except FileNotFoundError:
        return None, 0
    return id_, int(pid or 0)


def _is_running(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def release(paths: Paths, name: str, id_: str) -> None:
    """Free ``name`` if the container ``id_`` has it."""
    path = f"{paths.names}/{name}"
    owner, _ = _read_name(path)
    if owner == id_:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return


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
    if bare and "/" not in bare and bare not in (".", ".."):
        if len(bare) == 64 and os.path.isdir(f"{paths.containers}/{bare}"):
            return bare
        owner, _ = _read_name(f"{paths.names}/{bare}")
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


def withdraw(paths: Paths, id_: str, name: str, to: str) -> None:
    """Make a container invisible at once by renaming its directory to ``to``, where it is deleted next.

    What a killed process leaves of it is swept from the staging area later.
    """
    os.rename(f"{paths.containers}/{id_}", to)
    release(paths, name, id_)
