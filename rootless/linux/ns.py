"""Namespaces: unshare(2), setns(2), namespaces(7)."""

from __future__ import annotations

import ctypes

from rootless.linux.libc import check, libc
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

CLONE_NEWNS: Final = 0x00020000  # linux/sched.h
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

#: Flag by the name that /proc/PID/ns uses.
BY_NAME: Final = {
    "user": CLONE_NEWUSER,
    "mnt": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "net": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
}

_unshare = libc.unshare
_unshare.argtypes = (ctypes.c_int,)
_setns = libc.setns
_setns.argtypes = (ctypes.c_int, ctypes.c_int)
_sethostname = libc.sethostname
_sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = libc.setdomainname
_setdomainname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def unshare(flags: int) -> None:
    """Move the caller into new namespaces (unshare(2)).

    Raises:
        PermissionError: EPERM - a sysctl, an LSM or a seccomp filter forbids it.
        OSError: ENOSPC - user.max_user_namespaces (or another kind's limit) is used up.
    """
    check(_unshare(flags))


def setns(fd: int, flags: int) -> None:
    """Join the namespace ``fd``, or with a pidfd those of that process named by ``flags`` (setns(2)).

    Raises:
        PermissionError: EPERM - no CAP_SYS_ADMIN in the target's user namespace.
        OSError: EINVAL - a pidfd before Linux 5.8, or a user namespace that is the caller's own.
    """
    check(_setns(fd, flags))


def sethostname(name: str) -> None:
    """Set the host name of the caller's UTS namespace (sethostname(2)); at most 64 bytes."""
    encoded = name.encode()
    check(_sethostname(encoded, len(encoded)))


def setdomainname(name: str) -> None:
    """Set the NIS domain name of the caller's UTS namespace (setdomainname(2)); at most 64 bytes."""
    encoded = name.encode()
    check(_setdomainname(encoded, len(encoded)))
