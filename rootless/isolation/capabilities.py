"""Which capabilities a container's process has: Docker's default set, --cap-add, --cap-drop, --privileged."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.linux.caps import ALL, NUMBERS
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

#: What Docker grants where nothing is asked (Docker's manual, "Linux capabilities").
DEFAULT_NAMES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
)


def effective(add: Iterable[str] = (), drop: Iterable[str] = (), *, privileged: bool = False) -> int:
    """Return the bit mask that the options ask for; what is both added and dropped is added.

    Raises:
        UsageError: a name is no capability.
    """
    added, add_all = _parse(add, "CapAdd")
    dropped, drop_all = _parse(drop, "CapDrop")
    if privileged:
        return ALL
    if add_all:
        return ALL if drop_all else ALL & ~dropped
    if drop_all:
        return added
    return mask(DEFAULT_NAMES) & ~dropped | added


def _parse(names: Iterable[str], option: str) -> tuple[int, bool]:
    bits, everything = 0, False
    for name in names:
        upper = name.strip().upper()
        if upper in ("ALL", "CAP_ALL"):
            everything = True
            continue
        number = NUMBERS.get(upper.removeprefix("CAP_"))
        if number is None:
            full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
            raise UsageError(f'invalid {option}: unknown capability: "{full}"', hint="man 7 capabilities lists them")
        bits |= 1 << number
    return bits, everything


def mask(names: Iterable[str]) -> int:
    """Return the bit mask of names as the kernel has them, with or without CAP_."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name.removeprefix("CAP_")]
    return bits


def names(bits: int) -> tuple[str, ...]:
    """Return the names of a bit mask as the runtime-spec has them, in the kernel's order."""
    return tuple(f"CAP_{name}" for name, number in NUMBERS.items() if bits >> number & 1)
