"""Write the id maps of a process that has a new user namespace (user_namespaces(7), newuidmap(1))."""

from __future__ import annotations

import os

from rootless.errors import HostUnsupported
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from idmap.ranges import IdMap, UserMap


class MapsRefused(HostUnsupported):
    """The kernel, newuidmap or newgidmap did not accept the maps."""


def with_helpers(pid: int, maps: UserMap, newuidmap: str, newgidmap: str) -> None:
    """Let newuidmap(1) and newgidmap(1) write the maps of ``pid``, both at once.

    Raises:
        MapsRefused: one of them failed; what it printed is in the message.
    """
    running = []
    try:
        for program, map_, name in ((newuidmap, maps.uids, "uid_map"), (newgidmap, maps.gids, "gid_map")):
            running.append((program, f"/proc/{pid}/{name}", *_start(program, pid, map_)))
    finally:
        failures = [failure for started in running if (failure := _finish(*started)) is not None]
    if failures:
        raise failures[0]


def _start(program: str, pid: int, map_: IdMap) -> tuple[int, int]:
    argv = [program, str(pid)]
    for range_ in map_.ranges:
        argv += map(str, range_)
    reader, writer = os.pipe()
    try:
        child = os.posix_spawn(
            program, argv, {"LC_ALL": "C"}, file_actions=[(os.POSIX_SPAWN_DUP2, writer, fd) for fd in (1, 2)]
        )
    except OSError as e:
        os.close(reader)
        raise MapsRefused(
            f"cannot run {program!r}: {e.strerror}", hint="sudo apt-get install --reinstall uidmap"
        ) from e
    finally:
        os.close(writer)
    return child, reader


def _finish(program: str, map_file: str, child: int, reader: int) -> MapsRefused | None:
    output = b""
    try:
        while chunk := os.read(reader, 4096):
            output += chunk
    finally:
        os.close(reader)
    try:
        if os.waitpid(child, 0)[1] == 0:
            return None
    except ChildProcessError:
        # The caller ignores SIGCHLD, so there is no status; a map can be written only once.
        try:
            with open(map_file) as file:
                if file.read():
                    return None
        except OSError:
            pass
    said = output.decode(errors="replace").strip() or "it failed without a word"
    name = program.rpartition("/")[2]
    return MapsRefused(f"{name} refused the id map: {said.removeprefix(f'{name}: ')}", hint=_helper_hint(name, said))


def _helper_hint(name: str, said: str) -> str:
    ids, path = ("gids", "/etc/subgid") if name == "newgidmap" else ("uids", "/etc/subuid")
    if "not allowed" in said:
        return f"check your line in {path}; an admin adds one with: sudo usermod --add-sub{ids} FIRST-LAST USER"
    if "different user" in said:
        return "start rl as the user that owns the session (neither sudo -u nor su keeps it whole)"
    return "sudo apt-get install --reinstall uidmap, and start rl outside of sandboxes that forbid new privileges"


def directly(pid: int, maps: UserMap, *, deny_setgroups: bool) -> None:
    """Write the maps of ``pid`` to /proc, as its owner (one id) or with CAP_SETUID and CAP_SETGID.

    Without CAP_SETGID the kernel takes a gid map only after setgroups(2) is denied in the namespace.

    Raises:
        MapsRefused: EPERM - an extent is not within one extent of the caller's own map, an LSM
            forbids it, or the map was written before.
    """
    if deny_setgroups:
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/gid_map", maps.gids.text())
    _write(f"/proc/{pid}/uid_map", maps.uids.text())


def _write(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            # All in one write: the kernel takes a map only once.
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as e:
        raise MapsRefused(
            f"cannot write {path}: {e.strerror}", hint="rl info says what this host forbids in user namespaces"
        ) from e
