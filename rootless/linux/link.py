"""Network interfaces by ioctl (netdevice(7))."""

from __future__ import annotations

import _socket
import fcntl
import struct

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

SIOCGIFFLAGS: Final = 0x8913  # linux/sockios.h
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 0x1  # linux/if.h
# struct ifreq: the name, ifr_flags, and the rest of the union.
_IFREQ: Final = struct.Struct("16sH22x")


def flags(name: str) -> int:
    """Return the flags of interface ``name`` in the caller's network namespace (netdevice(7), SIOCGIFFLAGS)."""
    control = _control()
    try:
        return _flags(control, name)
    finally:
        control.close()


def set_up(name: str = "lo") -> None:
    """Bring interface ``name`` up (netdevice(7), SIOCSIFFLAGS); the kernel then gives lo its addresses.

    Raises:
        PermissionError: EPERM - no CAP_NET_ADMIN over the network namespace.
        OSError: ENODEV - there is no such interface.
    """
    control = _control()
    try:
        request = _IFREQ.pack(name.encode(), _flags(control, name) | IFF_UP)
        fcntl.ioctl(control.fileno(), SIOCSIFFLAGS, request)
    finally:
        control.close()


def _control() -> _socket.socket:
    # Any socket will do, and a Unix one exists on kernels without IPv4 too.
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)


def _flags(control: _socket.socket, name: str) -> int:
    request = _IFREQ.pack(name.encode(), 0)
    answer = fcntl.ioctl(control.fileno(), SIOCGIFFLAGS, request)
    return int(_IFREQ.unpack(answer)[1])
