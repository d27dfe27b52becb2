"""Paths of /proc and /sys that tell or change too much about the host, as Docker hides them.

A path that this kernel does not have is passed over. A privileged container has none of these.
"""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

#: Hidden: a directory under an empty read-only tmpfs, a file under /dev/null.
MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
#: Bound onto themselves and read-only.
READONLY: Final = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
