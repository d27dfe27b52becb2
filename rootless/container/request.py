"""What the user said: the requests that the doors build and the engine carries out. No decisions."""

from __future__ import annotations

from rootless.typed import NamedTuple


class VolumeRequest(NamedTuple):
    """One ``-v`` or ``--mount``: ``kind`` is ``bind``, ``volume`` or ``tmpfs``.

    ``source`` is a host path (bind, absolute), a name or "" (volume), or "" (tmpfs).
    ``options`` are the words behind the second colon, or ``key=value`` of ``--mount``.
    ``create_source``: ``-v`` makes a missing host directory, ``--mount`` refuses.
    """

    kind: str
    source: str
    target: str
    readonly: bool = False
    options: tuple[str, ...] = ()
    create_source: bool = False


class RunRequest(NamedTuple):
    """What ``rl run`` and ``rl create`` were asked; defaults are those of the command line.

    ``environment`` holds ``KEY=VALUE``, or a bare ``KEY`` that removes it.
    ``entrypoint``: None keeps the image's, "" clears it.
    ``tty_size``: (rows, columns) of the caller's terminal, or None.
    """

    image: str
    command: tuple[str, ...] = ()
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    remove: bool = False
    name: str | None = None
    environment: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    entrypoint: str | None = None
    volumes: tuple[VolumeRequest, ...] = ()
    read_only: bool = False
    hostname: str | None = None
    add_hosts: tuple[str, ...] = ()
    network: str | None = None
    init: bool = False
    cidfile: str | None = None
    pull: str = "missing"
    quiet: bool = False
    platform: str | None = None
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    userns: str | None = None
    rootfs: bool = False
    storage_driver: str | None = None
    require: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    ulimits: tuple[str, ...] = ()
    stop_signal: str | None = None
    stop_timeout: int | None = None
    detach_keys: str = "ctrl-p,ctrl-q"
    sig_proxy: bool = True
    dry_run: bool = False
    verbose: bool = False
    tty_size: tuple[int, int] | None = None


class ExecRequest(NamedTuple):
    """What ``rl exec`` was asked."""

    container: str
    command: tuple[str, ...]
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    environment: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    privileged: bool = False
    detach_keys: str = "ctrl-p,ctrl-q"
    tty_size: tuple[int, int] | None = None
