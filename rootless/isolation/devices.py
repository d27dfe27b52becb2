"""The /dev that every container has (runtime-spec config-linux.md, "Default Devices")."""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


class Device(NamedTuple):
    """A character device of mode 0666; in a user namespace it is bound from the host's ``path``."""

    path: str
    major: int
    minor: int


class Symlink(NamedTuple):
    """A symbolic link at ``path`` in the container."""

    path: str
    target: str


DEVICES: Final = (
    Device("/dev/null", 1, 3),
    Device("/dev/zero", 1, 5),
    Device("/dev/full", 1, 7),
    Device("/dev/random", 1, 8),
    Device("/dev/urandom", 1, 9),
    Device("/dev/tty", 5, 0),
)
SYMLINKS: Final = (
    Symlink("/dev/fd", "/proc/self/fd"),
    Symlink("/dev/stdin", "/proc/self/fd/0"),
    Symlink("/dev/stdout", "/proc/self/fd/1"),
    Symlink("/dev/stderr", "/proc/self/fd/2"),
    # Relative, so that it is right however /dev is reached; devpts is mounted with newinstance.
    Symlink("/dev/ptmx", "pts/ptmx"),
    Symlink("/dev/core", "/proc/kcore"),
)
