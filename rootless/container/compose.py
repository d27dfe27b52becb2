"""From what the user said and what the image says to the runtime specification. Pure: reads and writes nothing."""

from __future__ import annotations

import os

from rootless.container.spec import MountSpec, Namespace, Process, RlimitSpec, Spec
from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

    from rootless.container.request import RunRequest, VolumeRequest

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Docker's: any user of a network namespace that is its own may bind low ports.
DEFAULT_SYSCTLS: Final = (("net.ipv4.ip_unprivileged_port_start", "0"),)
_SHM_SIZE: Final = "65536k"


class ImageDefaults(NamedTuple):
    """What an image's configuration contributes (image-spec config.md); empty for ``--rootfs``."""

    environment: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = {}


class Identity(NamedTuple):
    """Who the command runs as, in container ids."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class Confinement(NamedTuple):
    """What the command may do: capability names, hidden and read-only paths, the filter."""

    capabilities: tuple[str, ...]
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    seccomp: str
    no_new_privileges: bool = False


class Surroundings(NamedTuple):
    """What is known of the container besides the request and the image.

    ``files``: (path in the container, file on the host) to bind, as /etc/hosts.
    ``network``: none, host, or ``container:ID``, whose namespace is joined.
    """

    hostname: str
    network: str
    files: tuple[tuple[str, str], ...]
    uid_mappings: tuple[tuple[int, int, int], ...]
    gid_mappings: tuple[tuple[int, int, int], ...]
    tty_gid: int | None


def command(request: RunRequest, image: ImageDefaults) -> tuple[str, ...]:
    """Return what is executed: entrypoint and command by Docker's rules.

    Raises:
        UsageError: there is neither.
    """
    entrypoint, arguments = image.entrypoint, image.command
    if request.entrypoint is not None:
        entrypoint = (request.entrypoint,) if request.entrypoint else ()
        arguments = ()
    if request.command:
        arguments = request.command
    if not entrypoint and not arguments:
        raise UsageError("no command specified", hint="the image names none: put one behind the image's name")
    return (*entrypoint, *arguments)


def environment(
    request: RunRequest, image: ImageDefaults, hostname: str, home: str, extra: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the environment: defaults, the image's, the request's; a bare KEY removes the variable."""
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if request.tty:
        variables["TERM"] = "xterm"
    for item in (*image.environment, *extra, *request.environment):
        key, equals, value = item.partition("=")
        if equals:
            variables[key] = value
        else:
            variables.pop(key, None)
    variables.setdefault("HOME", home)
    return tuple(f"{key}={value}" for key, value in variables.items())


def compose(
    request: RunRequest, image: ImageDefaults, identity: Identity, confinement: Confinement, around: Surroundings
) -> Spec:
    """Return the specification of the container.

    Raises:
        UsageError: a mount, a limit or the working directory is not one.
    """
    workdir = request.workdir or image.workdir or "/"
    if not workdir.startswith("/"):
        raise UsageError(f"the working directory '{workdir}' is invalid, it needs to be an absolute path")
    process = Process(
        args=command(request, image),
        env=environment(request, image, around.hostname, identity.home),
        cwd=workdir,
        terminal=request.tty,
        uid=identity.uid,
        gid=identity.gid,
        additional_gids=identity.groups,
        capabilities=confinement.capabilities,
        rlimits=tuple(_rlimit(text) for text in request.ulimits),
        no_new_privileges=confinement.no_new_privileges,
    )
    return Spec(
        process=process,
        hostname=around.hostname,
        mounts=(*_system_mounts(request, around), *_files(around), *_user_mounts(request.volumes)),
        namespaces=_namespaces(around),
        root_readonly=request.read_only,
        masked_paths=confinement.masked_paths,
        readonly_paths=confinement.readonly_paths,
        uid_mappings=around.uid_mappings,
        gid_mappings=around.gid_mappings,
        sysctl=DEFAULT_SYSCTLS if around.network == "none" else (),
        seccomp=confinement.seccomp,
        init=request.init,
    )


def _namespaces(around: Surroundings) -> tuple[Namespace, ...]:
    kinds = ["mount", "pid", "ipc", "uts", "cgroup"]
    if around.uid_mappings:
        kinds.insert(0, "user")
    made = tuple(Namespace(kind) for kind in kinds)
    if around.network == "host":
        return made
    return (*made, Namespace("network", around.network if around.network != "none" else ""))


def _system_mounts(request: RunRequest, around: Surroundings) -> tuple[MountSpec, ...]:
    safe = ("nosuid", "noexec", "nodev")
    access = "rw" if request.privileged else "ro"
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if around.tty_gid is not None:
        pts.append(f"gid={around.tty_gid}")
    return (
        MountSpec("/proc", "proc", "proc", safe),
        MountSpec("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        MountSpec("/dev/pts", "devpts", "devpts", tuple(pts)),
        MountSpec("/sys", "sysfs", "sysfs", (*safe, access)),
        MountSpec("/sys/fs/cgroup", "cgroup2", "cgroup", (*safe, access)),
        MountSpec("/dev/mqueue", "mqueue", "mqueue", safe),
        MountSpec("/dev/shm", "tmpfs", "shm", (*safe, "mode=1777", f"size={_SHM_SIZE}")),
    )


def _files(around: Surroundings) -> tuple[MountSpec, ...]:
    return tuple(MountSpec(target, "bind", source, ("rbind", "rprivate")) for target, source in around.files)


def _user_mounts(volumes: tuple[VolumeRequest, ...]) -> tuple[MountSpec, ...]:
    seen: set[str] = set()
    mounts = []
    for volume in volumes:
        target = os.path.normpath(volume.target)
        if not target.startswith("/") or target == "/":
            raise UsageError(
                f"invalid mount target {volume.target!r}: it must be an absolute path, and not '/'"
                if target == "/"
                else f"invalid mount config for type {volume.kind!r}: invalid mount path: {volume.target!r} "
                "mount path must be absolute"
            )
        if target in seen:
            raise UsageError(f"Duplicate mount point: {target}")
        seen.add(target)
        mounts.append(_user_mount(volume, target))
    # Parents before what lies below them, whatever the order they were given in.
    return tuple(sorted(mounts, key=lambda m: m.destination.count("/")))


def _user_mount(volume: VolumeRequest, target: str) -> MountSpec:
    access = ("ro",) if volume.readonly else ()
    if volume.kind == "tmpfs":
        # ``exec`` takes the default ``noexec`` back, and is itself no option of the kernel's.
        lifted = {f"no{word}" for word in volume.options}
        default = [word for word in ("nosuid", "nodev", "noexec") if word not in lifted]
        options = [word for word in volume.options if word not in ("rw", "ro", "suid", "dev", "exec")]
        return MountSpec(target, "tmpfs", "tmpfs", (*default, *access, *options))
    words = [word for word in volume.options if word in ("nosuid", "nodev", "noexec")]
    return MountSpec(target, "bind", volume.source, ("rbind", "rprivate", *access, *words))


_RLIMITS: Final = (
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)


def _rlimit(text: str) -> RlimitSpec:
    """Read ``name=soft[:hard]`` of ``--ulimit``."""
    name, equals, values = text.partition("=")
    soft, _, hard = values.partition(":")
    if not equals or name not in _RLIMITS:
        raise UsageError(f'invalid argument "{text}" for "--ulimit" flag: invalid ulimit type: {name}')
    try:
        low, high = int(soft), int(hard or soft)
    except ValueError:
        raise UsageError(f'invalid argument "{text}" for "--ulimit" flag: {values!r} is no number') from None
    if high != -1 and (low == -1 or low > high):
        raise UsageError(
            f'invalid argument "{text}" for "--ulimit" flag: ulimit soft limit must be less than or equal to '
            f"hard limit: {low} > {high}"
        )
    return RlimitSpec(f"RLIMIT_{name.upper()}", low, high)
