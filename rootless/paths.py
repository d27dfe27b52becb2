"""Where rl keeps things: data, run-time state, configuration (XDG base directories)."""

from __future__ import annotations

import os
import stat

from rootless.errors import StoreError
from rootless.linux import pidfd
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Paths(NamedTuple):
    """Absolute directories of one user; none of them need exist yet.

    ``data`` is durable, ``runtime`` may vanish at log-out, ``config`` is the user's own.
    """

    data: str
    runtime: str
    config: str

    @property
    def layers(self) -> str:
        return f"{self.data}/layers"

    @property
    def containers(self) -> str:
        return f"{self.data}/containers"

    @property
    def names(self) -> str:
        return f"{self.data}/names"

    @property
    def volumes(self) -> str:
        return f"{self.data}/volumes"

    @property
    def tmp(self) -> str:
        return f"{self.data}/tmp"


def find(environ: Mapping[str, str] = os.environ) -> Paths:
    """Decide the directories from the environment, without touching the disk.

    ``RL_DATA``, ``RL_RUNTIME`` and ``RL_CONFIG`` win; then the XDG variables; then their
    defaults. Where XDG_RUNTIME_DIR is missing or not the caller's own (su, cron, batch jobs), a
    private directory keyed by uid and boot id under /tmp stands in.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    data = environ.get("RL_DATA") or os.path.join(_xdg(environ, "XDG_DATA_HOME", f"{home}/.local/share"), "rl")
    config = environ.get("RL_CONFIG") or os.path.join(_xdg(environ, "XDG_CONFIG_HOME", f"{home}/.config"), "rl")
    runtime = environ.get("RL_RUNTIME") or _runtime(environ)
    return Paths(os.path.abspath(data), os.path.abspath(runtime), os.path.abspath(config))


def _xdg(environ: Mapping[str, str], name: str, default: str) -> str:
    value = environ.get(name, "")
    # "All paths must be absolute. If relative, ignore it" (XDG base directory specification).
    return value if value.startswith("/") else default


def _runtime(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/") and _is_mine(base):
        return f"{base}/rl"
    return f"/tmp/rl-{os.getuid()}-{pidfd.boot_id()[:8]}"


def _is_mine(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid == os.getuid() and os.access(path, os.W_OK | os.X_OK)


def ensure_private(path: str) -> None:
    """Make ``path`` a directory of mode 0700 that belongs to the caller, or say why it is not one.

    Homes are often 0755, and a set-user-ID file unpacked by one user must be out of reach of others.

    Raises:
        StoreError: it belongs to somebody else, is no directory, or cannot be made.
    """
    try:
        try:
            os.makedirs(path, mode=0o700)
        except FileExistsError:
            pass
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) and not (stat.S_ISLNK(status.st_mode) and os.path.isdir(path)):
            raise StoreError(f"{path!r} is not a directory", hint=f"move it away: mv {path} {path}.old")
        status = os.stat(path)
        if status.st_uid != os.geteuid():
            raise StoreError(
                f"{path!r} belongs to uid {status.st_uid}, not to you (uid {os.geteuid()})",
                hint="set RL_DATA and RL_RUNTIME to directories of your own",
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.chmod(path, 0o700)
    except OSError as e:
        raise StoreError(
            f"cannot make {path!r}: {e.strerror}", hint="set RL_DATA to a directory on a writable file system"
        ) from e
