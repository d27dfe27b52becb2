"""Compiled filters on disk, so that a run loads a few hundred bytes instead of the table and the compiler."""

from __future__ import annotations

import os

from rootless.errors import HostUnsupported
from rootless.linux.caps import NUMBERS
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

#: Goes up whenever a program changes; a test knows each version's programs.
VERSION: Final = 1
#: The capabilities that change a program; equal to what the profile says, which is not loaded here.
RELEVANT: Final = sum(
    1 << NUMBERS[name]
    for name in (
        "BPF DAC_READ_SEARCH PERFMON SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT "
        "SYS_PTRACE SYS_RAWIO SYS_TIME SYS_TTY_CONFIG"
    ).split()
)
_MACHINES: Final = ("x86_64", "aarch64")
_INSTRUCTION_SIZE: Final = 8
_RETURN: Final = 0x06  # BPF_RET | BPF_K, linux/bpf_common.h


def program(directory: str, capabilities: int, machine: str | None = None) -> bytes:
    """Return the filter for a container with ``capabilities``, from ``directory`` or freshly compiled into it.

    A file there that is not a whole program is replaced; where it cannot be written the filter is
    compiled each time.

    Raises:
        HostUnsupported: there is no table for this machine.
    """
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        raise HostUnsupported(
            f"there is no seccomp filter for {machine!r}", hint="--security-opt seccomp=unconfined runs without one"
        )
    path = f"{directory}/seccomp-{machine}-{VERSION}-{capabilities & RELEVANT:x}.bpf"
    cached = _read(path)
    if cached is not None:
        return cached

    from rootless.isolation.seccomp import bpf, profile  # the slow part

    compiled = bpf.compile_policy(profile.policy(machine, capabilities))
    _write(path, compiled)
    return compiled


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            found = file.read()
    except OSError:
        return None
    # What a lost power supply leaves is cut or ends in zeros; a program ends with a return.
    whole = found and len(found) % _INSTRUCTION_SIZE == 0
    return found if whole and int.from_bytes(found[-8:-6], "little") == _RETURN else None


def _write(path: str, compiled: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(compiled)
        os.replace(temporary, path)
    except OSError:
        # A full or read-only disk costs a millisecond each time, not the container.
        try:
            os.unlink(temporary)
        except OSError:
            pass
