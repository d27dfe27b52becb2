"""Who runs the tests: root, a user with subuid ranges, or one without; and what the host lets them do."""

from __future__ import annotations

import functools
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from typing import NamedTuple


class SubRange(NamedTuple):
    """A line of /etc/subuid: ``length`` ids from ``start`` on (subuid(5))."""

    start: int
    length: int


class Me(NamedTuple):
    """The user who runs the tests. ``subuids`` and ``subgids`` are usable: the helpers are there too."""

    name: str
    uid: int
    subuids: tuple[SubRange, ...]
    subgids: tuple[SubRange, ...]

    @property
    def is_root(self) -> bool:
        return self.uid == 0

    @property
    def has_ranges(self) -> bool:
        return bool(self.subuids and self.subgids)


@functools.cache
def me() -> Me:
    """Return who runs this process."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    helpers = shutil.which("newuidmap") and shutil.which("newgidmap")
    ranges = [read_ranges(path, name, uid) if helpers else () for path in ("/etc/subuid", "/etc/subgid")]
    return Me(name, uid, *ranges)


def read_ranges(path: str, name: str, uid: int) -> tuple[SubRange, ...]:
    """Return the ranges that ``path`` gives to a user, by name or number."""
    try:
        with open(path) as f:
            lines = [line.strip().split(":") for line in f]
    except FileNotFoundError:
        return ()
    return tuple(
        SubRange(int(line[1]), int(line[2])) for line in lines if len(line) == 3 and line[0] in (name, str(uid))
    )


_PROBE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
flags = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000
uid, gid = os.getuid(), os.getgid()
def step(what, failed):
    if failed:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
step("unshare", libc.unshare(flags))
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    try:
        open(f"/proc/self/{name}", "w").write(text)
    except OSError as e:
        sys.exit(f"{name}: {e.strerror}")
step("mount", libc.mount(b"rl", b"/mnt", b"tmpfs", 0, None))
"""


@functools.cache
def namespaces_forbidden() -> str:
    """Return why this host does not let the caller make namespaces, or an empty text.

    A process of its own tries it: user, mount, pid and network namespaces, a map of one id, a tmpfs.
    """
    done = subprocess.run((sys.executable, "-I", "-S", "-c", _PROBE), capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


def remove_tree(path: str) -> None:
    """Remove ``path``, also where it holds files of the caller's subuid range and directories without permissions."""
    if _remove_plainly(path):
        return
    if me().has_ranges and not me().is_root:
        _in_namespace(path)
    if os.path.lexists(path):
        raise OSError(f"{path!r} cannot be removed")


def _remove_plainly(path: str) -> bool:
    for directory, names, _ in os.walk(path):
        for name in names:
            where = os.path.join(directory, name)
            try:
                if not os.path.islink(where):
                    os.chmod(where, 0o700)
            except OSError:
                continue  # not ours
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)


def _in_namespace(path: str) -> None:
    """Remove ``path`` as the root of a user namespace that has all our ids (user_namespaces(7))."""
    user = me()
    code = f"""
import ctypes, os, shutil, sys
if ctypes.CDLL(None).unshare(0x10000000): os._exit(1)
print(flush=True)
sys.stdin.readline()
os.setgid(0); os.setuid(0)
shutil.rmtree({path!r})
"""
    child = subprocess.Popen((sys.executable, "-I", "-S", "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        for helper, own, ranges in (("newuidmap", user.uid, user.subuids), ("newgidmap", os.getgid(), user.subgids)):
            extents, inside = [0, own, 1], 1
            for start, length in ranges:
                extents += [inside, start, length]
                inside += length
            subprocess.run((helper, str(child.pid), *map(str, extents)), check=True)
        child.stdin.write(b"\n")
        child.stdin.close()


def kill(pid: int, start: int) -> None:
    """Kill ``pid`` and wait for its end, if it is the one started at ``start`` (ticks since boot; 0: any)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            if start and int(f.read().rpartition(b")")[2].split()[19]) != start:
                return
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        select.select([fd], [], [], 5)
    except (FileNotFoundError, ProcessLookupError):
        return
    finally:
        os.close(fd)
