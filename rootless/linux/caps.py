"""Capabilities of a thread: capget(2), capset(2), capabilities(7)."""

from __future__ import annotations

import ctypes

from rootless.linux import prctl
from rootless.linux.libc import check, libc
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

#: Number by name, without the CAP_ prefix (linux/capability.h).
NUMBERS: Final = {
    name: number
    for number, name in enumerate(
        (
            "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
            "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
            "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
            "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
            "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
        ).split()
    )
}
LAST: Final = 40
ALL: Final = (1 << (LAST + 1)) - 1
_VERSION_3: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_capget = libc.capget
_capget.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
_capset = libc.capset
_capset.argtypes = (ctypes.c_void_p, ctypes.c_void_p)


def capget() -> tuple[int, int, int]:
    """Return the calling thread's effective, permitted and inheritable sets as bit masks (capget(2))."""
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    check(_capget(ctypes.addressof(header), ctypes.addressof(data)))
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the calling thread's capability sets, given as bit masks (capset(2))."""
    header = _Header(_VERSION_3, 0)
    low = 0xFFFFFFFF
    data = (_Data * 2)(
        _Data(effective & low, permitted & low, inheritable & low),
        _Data(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    check(_capset(ctypes.addressof(header), ctypes.addressof(data)))


def bounding_drop(keep: int) -> None:
    """Drop every capability that is not in the bit mask ``keep`` from the bounding set.

    Capabilities that this kernel does not know end the loop (EINVAL).
    """
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            prctl.prctl(prctl.PR_CAPBSET_DROP, number)
        except OSError:
            if number > LAST or number > _last_known():
                return
            raise


def _last_known() -> int:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())
