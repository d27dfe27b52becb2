"""The options of ``run`` and ``create``, and the request that they make."""

from __future__ import annotations

import os

from rootless.cli import values
from rootless.cli.table import BOOL, INT, LIST, STR, Argument, Option
from rootless.container.request import RunRequest
from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from rootless.cli.table import Options

_PULL: Final = ("always", "missing", "never")
_START: Final = "Start"
_FILES: Final = "Files"
_HOST: Final = "Host name and network"
_WHO: Final = "Users and rights"
_IMAGE: Final = "Image"
_ABOUT: Final = "About rl"

ARGUMENTS: Final = (
    Argument("IMAGE", "The image, as in busybox, debian:12 or ghcr.io/owner/name@sha256:…", complete="image"),
    Argument("COMMAND", "What to run instead of the image's own command", required=False, many=True),
)

DETACH_KEYS: Final = Option(
    "--detach-keys",
    STR,
    "Keys that leave the container running and give the terminal back",
    "KEYS",
    default="ctrl-p,ctrl-q",
    panel=_START,
)

#: What a process is started with, in ``run``, ``create`` and ``exec``.
PROCESS: Final = (
    Option("-i --interactive", BOOL, "Keep stdin open", panel=_START),
    Option("-t --tty", BOOL, "Give it a terminal", panel=_START),
    Option("-e --env", LIST, "Set a variable; KEY alone takes the value from here", "KEY[=VALUE]", panel=_START),
    Option("--env-file", LIST, "Read variables from a file, one KEY=VALUE a line", "FILE", panel=_START),
    Option("-w --workdir", STR, "Start in this directory", "DIR", panel=_START),
    Option("-u --user", STR, "Run as this user", "NAME|UID[:GROUP|GID]", panel=_START),
)

OPTIONS: Final = (
    *PROCESS,
    Option("--entrypoint", STR, "Run this instead of the image's entrypoint; '' for none", "PROGRAM", panel=_START),
    Option("--init", BOOL, "Reap orphans and pass signals on, as process 1", panel=_START),
    Option("--name", STR, "Call the container so", "NAME", panel=_START),
    Option("-l --label", LIST, "Note a label on the container", "KEY=VALUE", "labels", panel=_START),
    Option("--cidfile", STR, "Write the container's id to this file, which must not exist", "FILE", panel=_START),
    Option("--stop-signal", STR, "What `rl stop` sends first (TERM, or what the image says)", "SIGNAL", panel=_START),
    Option("--stop-timeout", INT, "How long `rl stop` waits before it kills (10)", "SECONDS", panel=_START),
    DETACH_KEYS,
    Option("--sig-proxy", BOOL, "Pass signals on to the command", default=True, panel=_START),
    Option(
        "-v --volume", LIST, "Show a directory of the host, or a named volume", "[SOURCE:]TARGET[:ro]", panel=_FILES
    ),
    Option(
        "--mount",
        LIST,
        "The same in words: type=bind (or volume, tmpfs), source=…, target=…, readonly",
        "KEY=VALUE,…",
        panel=_FILES,
    ),
    Option("--tmpfs", LIST, "Mount an empty directory in memory", "TARGET[:size=64m,…]", panel=_FILES),
    Option("--read-only", BOOL, "Forbid writing to the image's files", panel=_FILES),
    Option("--rootfs", BOOL, "IMAGE is a directory of the host that holds a root file system", panel=_FILES),
    Option(
        "--storage-driver",
        STR,
        "How the image's files become writable: overlay or plain (a full copy)",
        "NAME",
        panel=_FILES,
    ),
    Option("-h --hostname", STR, "Name the host inside", "NAME", panel=_HOST),
    Option("--add-host", LIST, "Add a line to /etc/hosts", "NAME:IP", "add_hosts", panel=_HOST),
    Option("--network --net", STR, "none, host or container:NAME", "NETWORK", panel=_HOST),
    Option("--userns", STR, "Who is who: host, me, or keep-id[:uid=N,gid=N]", "MODE", panel=_WHO),
    Option("--privileged", BOOL, "All capabilities, no seccomp filter (still no more than you may)", panel=_WHO),
    Option("--cap-add", LIST, "Add a capability", "NAME", panel=_WHO),
    Option("--cap-drop", LIST, "Drop a capability, or ALL", "NAME", panel=_WHO),
    Option("--security-opt", LIST, "seccomp=unconfined or no-new-privileges", "OPTION", panel=_WHO),
    Option("--ulimit", LIST, "Limit a resource, as in nofile=1024:4096", "NAME=SOFT[:HARD]", "ulimits", panel=_WHO),
    Option("--pull", STR, "Download the image: always, missing or never", "WHEN", default="missing", panel=_IMAGE),
    Option("-q --quiet", BOOL, "Show no progress of a download", panel=_IMAGE),
    Option("--platform", STR, "Take the image for this platform, as in linux/arm64", "OS/ARCH[/VARIANT]", panel=_IMAGE),
    Option("--require", LIST, "Fail rather than fall back, as in ids=range", "FEATURE=WAY,…", panel=_ABOUT),
    Option("--dry-run", BOOL, "Print what would be done, and do nothing", panel=_ABOUT),
)


def run_request(
    options: Options,
    environ: Mapping[str, str],
    cwd: str,
    *,
    detach: bool = False,
    remove: bool = False,
    tty_size: tuple[int, int] | None = None,
) -> RunRequest:
    """Return what the command line asks for; it reads the files of ``--env-file`` and nothing else."""
    image, *command = options.arguments
    return RunRequest(
        image=_rootfs(image, cwd) if options.flag("rootfs") else image,
        command=tuple(command),
        interactive=options.flag("interactive"),
        tty=options.flag("tty"),
        detach=detach,
        remove=remove,
        name=options.text("name"),
        environment=environment(options, environ),
        workdir=options.text("workdir"),
        user=options.text("user"),
        entrypoint=options.text("entrypoint"),
        volumes=values.volumes(options.texts("volume"), options.texts("mount"), options.texts("tmpfs"), cwd),
        read_only=options.flag("read_only"),
        hostname=options.text("hostname"),
        add_hosts=options.texts("add_hosts"),
        network=options.text("network"),
        init=options.flag("init"),
        cidfile=options.text("cidfile"),
        pull=values.choice("pull", options.text("pull") or "missing", _PULL),
        quiet=options.flag("quiet"),
        platform=options.text("platform"),
        privileged=options.flag("privileged"),
        cap_add=options.texts("cap_add"),
        cap_drop=options.texts("cap_drop"),
        security_opt=options.texts("security_opt"),
        userns=options.text("userns"),
        rootfs=options.flag("rootfs"),
        storage_driver=options.text("storage_driver"),
        require=tuple(word for text in options.texts("require") for word in text.split(",") if word),
        labels=options.texts("labels"),
        ulimits=options.texts("ulimits"),
        stop_signal=options.text("stop_signal"),
        stop_timeout=options.number("stop_timeout"),
        detach_keys=options.text("detach_keys") or "",
        sig_proxy=options.flag("sig_proxy"),
        dry_run=options.flag("dry_run"),
        verbose=options.flag("verbose"),
        tty_size=tty_size,
    )


def environment(options: Options, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return ``--env-file`` and then ``-e``, which wins by coming later."""
    files = options.texts("env_file")
    return (
        *(values.read_env_files(files, environ) if files else ()),
        *values.environment(options.texts("env"), environ),
    )


def _rootfs(directory: str, cwd: str) -> str:
    path = os.path.normpath(os.path.join(cwd, directory))
    if not os.path.isdir(path):
        raise UsageError(f"--rootfs: {directory!r} is not a directory", hint="without --rootfs it would be an image")
    return path


def terminal(options: Options) -> tuple[int, int] | None:
    """Return (rows, columns) of our terminal where the command gets one, or None."""
    if not options.flag("tty"):
        return None
    for fd in (1, 0, 2):
        try:
            size = os.get_terminal_size(fd)
        except OSError:
            continue
        return (size.lines, size.columns)
    return None
