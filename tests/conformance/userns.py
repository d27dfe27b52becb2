"""Run a function as the root of a new user and mount namespace, in a forked child."""

from __future__ import annotations

import os
import subprocess
import traceback
from collections.abc import Callable
from typing import NamedTuple

from rootless.linux import mount, ns


class Ids(NamedTuple):
    """The ids that the namespace has, as ``inside outside length``, and who its root is on the host."""

    name: str
    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]

    @property
    def owner(self) -> tuple[int, int]:
        return self.uids[0][1], self.gids[0][1]


def one_id() -> Ids:
    """Return the map that every user may have: the root inside is the caller."""
    return Ids("one", ((0, os.geteuid(), 1),), ((0, os.getegid(), 1),))


def id_range() -> Ids | None:
    """Return a map of many ids, if the caller has them: root takes some that are not its own."""
    if os.geteuid() == 0:
        extent = ((0, 400000, 65536),)
        return Ids("range", extent, extent)
    user = _user_name()
    uid, gid = _first_range("/etc/subuid", user), _first_range("/etc/subgid", user)
    if uid is None or gid is None:
        return None
    return Ids("range", ((0, os.getuid(), 1), (1, *uid)), ((0, os.getgid(), 1), (1, *gid)))


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _first_range(path: str, user: str) -> tuple[int, int] | None:
    try:
        with open(path) as file:
            for line in file:
                name, start, length = line.strip().split(":")
                if name == user:
                    return int(start), int(length)
    except (OSError, ValueError):
        pass
    return None


def enter(ids: Ids) -> None:
    """Move the caller, which has one thread, into a new user namespace; the ids stay what they were."""
    told, tell = os.pipe()
    pid = os.getpid()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(tell)
            os.read(told, 1)
            _write_maps(pid, ids)
            status = 0
        finally:
            os._exit(status)
    os.close(told)
    ns.unshare(ns.CLONE_NEWUSER)
    os.write(tell, b".")
    os.close(tell)
    if os.waitpid(helper, 0)[1]:
        raise OSError("the maps could not be written")


def _write_maps(pid: int, ids: Ids) -> None:
    if os.geteuid() != 0 and len(ids.uids) > 1:
        for command, extents in (("newuidmap", ids.uids), ("newgidmap", ids.gids)):
            subprocess.run([command, str(pid), *(str(n) for extent in extents for n in extent)], check=True)
        return
    if os.geteuid() != 0:
        _write(pid, "setgroups", "deny")
    _write(pid, "uid_map", _text(ids.uids))
    _write(pid, "gid_map", _text(ids.gids))


def _text(extents: tuple[tuple[int, int, int], ...]) -> str:
    return "\n".join(" ".join(map(str, extent)) for extent in extents)


def _write(pid: int, name: str, text: str) -> None:
    with open(f"/proc/{pid}/{name}", "w") as file:
        file.write(text)


def become_root() -> None:
    """Take the ids of the namespace's root."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def entered(ids: Ids) -> Callable[[], None]:
    """Return what ``fs.remove.tree`` calls in its worker."""

    def call() -> None:
        enter(ids)
        become_root()

    return call


def own_mounts() -> None:
    """Move the caller into a new mount namespace that passes nothing on."""
    ns.unshare(ns.CLONE_NEWNS)
    mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)


def in_child(function: Callable[[], None]) -> None:
    """Run ``function`` in a forked child; what it raises there is an AssertionError here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            function()
        except BaseException:
            os.write(writer, traceback.format_exc().encode(errors="backslashreplace")[-60000:])
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        trouble = pipe.read().decode()
    os.waitpid(pid, 0)
    if trouble:
        raise AssertionError(trouble)
