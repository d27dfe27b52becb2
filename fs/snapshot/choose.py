"""Which driver gives containers their roots here: overlayfs where it really works, else the copy.

Whether it works is tried, not deduced: sysctls, LSMs, kernels and file systems all have a say.
"""

from __future__ import annotations

import errno
import os

from rootless import codec
from rootless.errors import HostUnsupported, UsageError
from rootless.linux import pidfd
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from fs.snapshot.driver import Driver
    from rootless.paths import Paths

_ALIASES: Final = {
    "overlay": "overlay",
    "overlay2": "overlay",
    "overlayfs": "overlay",
    "plain": "plain",
    "vfs": "plain",
}
_WORKS: Final = "overlayfs works in a user namespace here"


class Choice(NamedTuple):
    """The driver's name, and in one line why it is this one."""

    driver: str
    reason: str


def load(name: str) -> Driver:
    """Return the driver called ``name``, as ``Rootfs.driver`` records it."""
    if name == "overlay":
        from fs.snapshot import overlay

        return overlay.DRIVER
    if name == "plain":
        from fs.snapshot import plain

        return plain.DRIVER
    raise HostUnsupported(f"this version has no storage driver {name!r}", hint="known are overlay and plain")


def choose(
    paths: Paths,
    forced: str | None = None,
    *,
    enter: Callable[[], None] | None = None,
    owner: tuple[int, int] | None = None,
) -> Choice:
    """Decide the driver; a trial's result is kept in the runtime directory until the next boot.

    ``enter`` is called in a forked process and makes it root of the user namespace in which containers
    live; without it the trial makes a namespace of its own. ``owner`` is that root's uid and gid on the host.

    Raises:
        UsageError: ``forced`` is no driver.
        HostUnsupported: overlay was forced but does not work here.
    """
    wanted = None
    if forced:
        wanted = _ALIASES.get(forced)
        if wanted is None:
            raise UsageError(f"unknown storage driver {forced!r}", hint="use overlay or plain")
    if wanted == "plain":
        return Choice("plain", "it was asked for")
    choice = _remembered(paths)
    if choice is None or (wanted == "overlay" and choice.driver != wanted):
        from fs.snapshot import trial

        trouble = trial.overlay_trouble(paths, enter, owner)
        choice = Choice("plain", trouble) if trouble else Choice("overlay", _WORKS)
        _remember(paths, choice)
    if wanted == "overlay" and choice.driver != wanted:
        raise HostUnsupported(f"overlayfs cannot be used: {choice.reason}", hint="use --storage-driver plain")
    return choice


def _key(paths: Paths) -> str:
    device = os.stat(paths.data).st_dev
    namespace = os.stat("/proc/self/ns/user").st_ino
    return f"{pidfd.boot_id()} {os.uname().release} {device} {os.geteuid()} {namespace}"


def _remembered(paths: Paths) -> Choice | None:
    try:
        values = codec.load(f"{paths.runtime}/storage.json")
        if values["key"] == _key(paths) and values["driver"] in ("overlay", "plain"):
            return Choice(values["driver"], str(values["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _remember(paths: Paths, choice: Choice) -> None:
    path = f"{paths.runtime}/storage.json"
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(paths.runtime, 0o700, exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(codec.dumps({"key": _key(paths), **choice._asdict()}))
        os.rename(temporary, path)
    except OSError as e:
        if e.errno == errno.ENOSPC:
            try:
                os.unlink(temporary)
            except OSError:
                pass
        # Not remembered is only slower: the next run tries again.
