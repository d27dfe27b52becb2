"""Read from the machine which ids the caller may use; no decisions."""

from __future__ import annotations

import os
import pwd
import stat

from idmap import subid
from idmap.plan import HostIds
from idmap.ranges import IdMap, UserMap
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

_CAP_SETGID: Final = 6  # linux/capability.h
_CAP_SETUID: Final = 7
_BOTH: Final = 1 << _CAP_SETGID | 1 << _CAP_SETUID
_DIRECTORIES: Final = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/run/wrappers/bin")


def gather() -> HostIds:
    """Collect what ``idmap.plan`` decides from: the caller, its ranges, the helpers and the namespace."""
    uid, gid = os.geteuid(), os.getegid()
    user = _user_name(uid)
    uid_lines = subid.parse(_read(subid.SUBUID), subid.SUBUID)
    gid_lines = subid.parse(_read(subid.SUBGID), subid.SUBGID)
    subuids = subid.of_user(uid_lines, user, uid)
    subgids = subid.of_user(gid_lines, user, uid)
    # Without such a line getsubids reads the same files; its two runs would cost 3 ms each time.
    if subid.asks_nss(_read(subid.NSSWITCH)) and (program := _find("getsubids")):
        subuids = subuids._replace(ranges=subid.getsubids(program, user) or subuids.ranges)
        subgids = subgids._replace(ranges=subid.getsubids(program, user, groups=True) or subgids.ranges)
    no_new_privs, capabilities = _status()
    return HostIds(
        user=user,
        uid=uid,
        gid=gid,
        subuids=subuids.ranges,
        subgids=subgids.ranges,
        newuidmap=_helper("newuidmap", _CAP_SETUID),
        newgidmap=_helper("newgidmap", _CAP_SETGID),
        no_new_privs=no_new_privs,
        may_map=capabilities & _BOTH == _BOTH,
        current=UserMap(IdMap.parse(_read("/proc/self/uid_map")), IdMap.parse(_read("/proc/self/gid_map"))),
        taken=tuple(line.range for line in uid_lines.lines + gid_lines.lines),
        problems=subuids.problems + subgids.problems,
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _status() -> tuple[bool, int]:
    no_new_privs, capabilities = False, 0
    for line in _read("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == "NoNewPrivs":
            no_new_privs = value.strip() == "1"
        elif key == "CapEff":
            capabilities = int(value, 16)
    return no_new_privs, capabilities


def _find(program: str) -> str:
    for directory in (*os.environ.get("PATH", "").split(":"), *_DIRECTORIES):
        path = f"{directory}/{program}"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def _helper(program: str, capability: int) -> str:
    """Return the path of a helper that has its privilege, or "": a copied or nosuid one has none."""
    path = _find(program)
    if not path:
        return ""
    try:
        status = os.stat(path)
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return ""
        if status.st_mode & stat.S_ISUID and status.st_uid == 0:
            return path
        # struct vfs_ns_cap_data: the low word of the permitted set is at byte 4 (linux/capability.h).
        permitted = int.from_bytes(os.getxattr(path, "security.capability")[4:8], "little")
        return path if permitted >> capability & 1 else ""
    except OSError:
        return ""
