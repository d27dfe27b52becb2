"""From a specification to the steps that make it so. Pure: the result can be printed."""

from __future__ import annotations

from rootless.container.compose import DEFAULT_SYSCTLS
from rootless.isolation import capabilities, devices
from rootless.linux import caps, mount, ns, rlimit
from rootless.runtime.child import SetupPlan
from rootless.runtime.steps import command, mounts, namespaces
from rootless.runtime.steps.step import FirstOf
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

    from fs.snapshot.driver import Driver, Rootfs
    from rootless.container.spec import MountSpec, Process, Spec
    from rootless.runtime.steps.step import Step

_FLAGS: Final = {
    "ro": mount.MS_RDONLY,
    "nosuid": mount.MS_NOSUID,
    "nodev": mount.MS_NODEV,
    "noexec": mount.MS_NOEXEC,
    "noatime": mount.MS_NOATIME,
    "relatime": mount.MS_RELATIME,
    "strictatime": mount.MS_STRICTATIME,
}
_ATTRIBUTES: Final = {
    "ro": mount.MOUNT_ATTR_RDONLY,
    "nosuid": mount.MOUNT_ATTR_NOSUID,
    "nodev": mount.MOUNT_ATTR_NODEV,
    "noexec": mount.MOUNT_ATTR_NOEXEC,
}
_IGNORED: Final = frozenset(("rw", "rbind", "bind", "rprivate", "private", "rslave", "slave", "rshared", "shared"))
_NAMESPACES: Final = {
    "pid": ns.CLONE_NEWPID,
    "network": ns.CLONE_NEWNET,
    "ipc": ns.CLONE_NEWIPC,
    "uts": ns.CLONE_NEWUTS,
    "cgroup": ns.CLONE_NEWCGROUP,
}
#: All kinds with their names in /proc/PID/ns, in the order in which they are entered.
_JOINED: Final = (
    ("network", "net"),
    ("user", "user"),
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("mount", "mnt"),
)


class Situation(NamedTuple):
    """What the plan needs beside the specification.

    ``net_fd``: the network namespace to join, or -1. ``tty_size``: rows and columns.
    ``seccomp``: the compiled filter, or b"". ``setgroups``: whether the map allows it.
    ``inner_root``: the ids in the container's namespace that make its mounts.
    """

    driver: Driver
    rootfs: Rootfs
    net_fd: int
    tty_size: tuple[int, int]
    seccomp: bytes
    setgroups: bool
    inner_root: tuple[int, int]


def container(spec: Spec, situation: Situation) -> SetupPlan:
    """Return the plan of a new container."""
    return SetupPlan(_outer(spec, situation), (*_filesystem(spec, situation), *_process(spec, situation)))


def joined(spec: Spec) -> tuple[str, ...]:
    """Return the namespaces that make the container, by their names in /proc/PID/ns, in the order of entering."""
    return tuple(name for kind, name in _JOINED if spec.namespace(kind) is not None)


def _outer(spec: Spec, situation: Situation) -> tuple[Step, ...]:
    outer: list[Step] = []
    if situation.net_fd >= 0:
        outer.append(namespaces.JoinNet(situation.net_fd))
    own_user = spec.namespace("user") is not None
    outer.append(namespaces.Unshare(ns.CLONE_NEWNS | (ns.CLONE_NEWUSER if own_user else 0)))
    outer.append(namespaces.OpenSources(_sources(spec)))
    outer.append(namespaces.OpenRootfs(situation.driver, situation.rootfs))
    if own_user:
        outer.append(namespaces.AwaitMaps())
        outer.append(namespaces.BecomeRoot(*situation.inner_root, situation.setgroups))
    flags = 0
    for kind, flag in _NAMESPACES.items():
        namespace = spec.namespace(kind)
        if namespace is not None and not namespace.path:
            flags |= flag
    outer.append(namespaces.Unshare(flags))
    return tuple(outer)


def _sources(spec: Spec) -> tuple[tuple[str, str], ...]:
    binds = [(_key(m), m.source) for m in spec.mounts if m.type == "bind"]
    nodes = [(device.path, device.path) for device in devices.DEVICES]
    return (*nodes, *binds)


def _key(bind: MountSpec) -> str:
    return f"bind {bind.destination}"


def _filesystem(spec: Spec, situation: Situation) -> tuple[Step, ...]:
    made: list[Step] = [
        namespaces.SendNamespaces(joined(spec)),
        mounts.Propagation(mount.MS_PRIVATE),
        mounts.MountRoot(situation.driver, situation.rootfs),
    ]
    for entry in spec.mounts:
        made += _mount(entry)
        if entry.destination == "/dev":
            made += [mounts.Bind(device.path, device.path, recursive=False) for device in devices.DEVICES]
            made += [mounts.Symlink(link.target, link.path) for link in devices.SYMLINKS]
    network = spec.namespace("network")
    if network is not None and not network.path:
        made.append(namespaces.LoopbackUp())
    if spec.namespace("uts") is not None:
        made.append(namespaces.Hostname(spec.hostname))
    made += [_sysctl(key, value) for key, value in spec.sysctl]
    made += [mounts.Mask(path) for path in spec.masked_paths]
    made.append(mounts.MakeDirectory(spec.process.cwd))
    made += [mounts.MakeReadonly(path) for path in spec.readonly_paths]
    if spec.root_readonly:
        made.append(mounts.RestrictRoot())
    made.append(mounts.PivotRoot())
    return tuple(made)


def _mount(entry: MountSpec) -> tuple[Step, ...]:
    flags, attributes, data = options(entry.options)
    if entry.type == "bind":
        return (mounts.Bind(_key(entry), entry.destination, attributes),)
    step = mounts.MountFs(entry.type, entry.destination, flags, data)
    if entry.type == "proc":
        # Under a masked /proc of an outer container a fresh one is refused; the outer one is better than none.
        outer = mounts.BindHost("/proc", entry.destination)
        return (FirstOf((("proc: fresh", (step,)), ("proc: bound", (outer,)))),)
    if entry.type == "sysfs":
        bound = mounts.BindHost("/sys", entry.destination, attributes)
        return (FirstOf((("sys: fresh", (step,)), ("sys: bound", (bound,)))),)
    if entry.type in ("cgroup2", "mqueue"):
        name = entry.destination.rpartition("/")[2]
        return (FirstOf(((f"{name}: fresh", (step,)), (f"{name}: none", ()))),)
    return (step,)


def _sysctl(key: str, value: str) -> Step:
    step = namespaces.Sysctl(key, value)
    if (key, value) in DEFAULT_SYSCTLS:
        # A comfort, not a promise: old kernels have it not, and masked ones refuse.
        return FirstOf(((f"{key}: {value}", (step,)), (f"{key}: unset", ())))
    return step


def options(words: tuple[str, ...]) -> tuple[int, int, str]:
    """Split mount options into mount(2) flags, mount_setattr(2) attributes, and data for the file system."""
    flags, attributes, data = 0, 0, []
    for word in words:
        if word in _FLAGS:
            flags |= _FLAGS[word]
            attributes |= _ATTRIBUTES.get(word, 0)
        elif word not in _IGNORED:
            data.append(word)
    return flags, attributes, ",".join(data)


def _process(spec: Spec, situation: Situation) -> tuple[Step, ...]:
    process = spec.process
    made: list[Step] = []
    if process.terminal:
        made.append(command.Terminal(process.uid, *situation.tty_size, console=True))
    else:
        made += (command.Session(), command.OwnStdio(process.uid))
    made += _limits(spec, situation.seccomp)
    made.append(
        command.Identity(process.uid, process.gid, process.additional_gids, _keep(process), situation.setgroups)
    )
    made += (
        command.ChangeDirectory(process.cwd),
        command.DieWithMonitor(),
    )
    if spec.init:
        from rootless.runtime import init

        made.append(command.RunInit(init.run))
    made.append(command.Exec(process.args, process.env))
    return tuple(made)


def _limits(spec: Spec, seccomp: bytes) -> list[Step]:
    """Return what confines the command before it takes its identity."""
    made: list[Step] = [
        command.Rlimit(rlimit.BY_NAME[limit.type.removeprefix("RLIMIT_").lower()], limit.soft, limit.hard)
        for limit in spec.process.rlimits
    ]
    if spec.process.no_new_privileges:
        made.append(command.NoNewPrivileges())
    made.append(command.SessionKeyring())
    if seccomp:
        made.append(command.Seccomp(seccomp))
    return made


def _keep(process: Process) -> int:
    return capabilities.mask(process.capabilities)


class Joining(NamedTuple):
    """What ``rl exec`` starts: where, as whom (``user`` as -u takes it, or None), with which terminal.

    ``namespaces``: descriptors in the order of ``joined``.
    """

    namespaces: tuple[int, ...]
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    cwd: str
    user: str | None
    tty_size: tuple[int, int] | None
    privileged: bool


def join(spec: Spec, joining: Joining, seccomp: bytes, setgroups: bool) -> SetupPlan:
    """Return the plan of a further command in a running container."""
    process = spec.process
    kinds = (ns.BY_NAME[name] for name in joined(spec))
    entered = tuple(zip(joining.namespaces, kinds, strict=True))
    made: list[Step] = []
    if joining.tty_size is not None:
        made.append(command.Terminal(process.uid, *joining.tty_size, console=False))
    else:
        made.append(command.Session())
    made += _limits(spec, seccomp)
    keep = caps.ALL if joining.privileged else _keep(process)
    if joining.user is None:
        made.append(command.OwnStdio(process.uid))
        made.append(command.Identity(process.uid, process.gid, process.additional_gids, keep, setgroups))
    else:
        made.append(command.NamedIdentity(joining.user, keep, setgroups))
    made += (
        command.ChangeDirectory(joining.cwd),
        command.DieWithMonitor(),
        command.Exec(joining.arguments, joining.environment),
    )
    return SetupPlan((namespaces.JoinContainer(entered),), tuple(made))
