"""Processes by descriptor: pidfd_open(2), pidfd_send_signal(2); and a process' start time."""

from __future__ import annotations

import os

from rootless.linux.libc import syscall
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

_NR_PIDFD_SEND_SIGNAL: Final = 424  # asm-generic/unistd.h
_NR_PIDFD_OPEN: Final = 434


def pidfd_open(pid: int) -> int:
    """Return a descriptor of process ``pid``, readable once it has ended (pidfd_open(2), Linux 5.3)."""
    return syscall(_NR_PIDFD_OPEN, pid, 0)


def send_signal(fd: int, number: int) -> None:
    """Send a signal to the process of ``fd`` (pidfd_send_signal(2), Linux 5.1)."""
    syscall(_NR_PIDFD_SEND_SIGNAL, fd, number, None, 0)


def start_time(pid: int) -> int:
    """Return when ``pid`` started, in clock ticks since boot: with the pid, a name that is not used twice.

    Source: proc(5), /proc/PID/stat field 22. A zombie has ended and counts as gone.

    Raises:
        ProcessLookupError: there is no such process, or it is a zombie.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as e:
        raise ProcessLookupError(f"no process {pid}") from e
    if fields[0] in (b"Z", b"X"):
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Tell whether the process that had ``pid`` and start time ``started`` still runs."""
    try:
        return start_time(pid) == started
    except ProcessLookupError:
        return False


def boot_id() -> str:
    """Return the id of this boot of the kernel (proc(5), /proc/sys/kernel/random/boot_id)."""
    fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)
