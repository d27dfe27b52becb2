"""The OCI runtime specification's ``config.json`` as immutable data (runtime-spec config.md, config-linux.md)."""

from __future__ import annotations

from rootless import codec
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.1.0"


class MountSpec(NamedTuple):
    """One entry of ``mounts``; ``source`` of a bind is a path of the host."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()


class RlimitSpec(NamedTuple):
    """One entry of ``process.rlimits``; -1 is unlimited."""

    type: str
    soft: int
    hard: int


class Process(NamedTuple):
    """``process``: what is executed, as whom."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    terminal: bool = False
    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    capabilities: tuple[str, ...] = ()
    rlimits: tuple[RlimitSpec, ...] = ()
    no_new_privileges: bool = False


class Namespace(NamedTuple):
    """One entry of ``linux.namespaces``; with a ``path`` it is joined instead of made."""

    type: str
    path: str = ""


class Spec(NamedTuple):
    """A container as the runtime executes it.

    ``seccomp``: ``default``, or ``unconfined``; the filter's text is made by the runtime for the
    machine it runs on, so annotations carry the choice. ``init``: process 1 is a reaper.
    """

    process: Process
    hostname: str
    mounts: tuple[MountSpec, ...]
    namespaces: tuple[Namespace, ...]
    root_readonly: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    uid_mappings: tuple[tuple[int, int, int], ...] = ()
    gid_mappings: tuple[tuple[int, int, int], ...] = ()
    sysctl: tuple[tuple[str, str], ...] = ()
    seccomp: str = "default"
    init: bool = False

    def namespace(self, kind: str) -> Namespace | None:
        """Return the namespace of this kind that is made or joined, or None where the host's is shared."""
        for namespace in self.namespaces:
            if namespace.type == kind:
                return namespace
        return None


def to_json(spec: Spec) -> dict[str, Any]:
    """Return the document as the runtime-spec has it."""
    process = spec.process
    caps = list(process.capabilities)
    effective = caps if process.uid == 0 else []
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": process.terminal,
            "user": {"uid": process.uid, "gid": process.gid, "additionalGids": list(process.additional_gids)},
            "args": list(process.args),
            "env": list(process.env),
            "cwd": process.cwd,
            "capabilities": {"bounding": caps, "effective": effective, "permitted": effective, "inheritable": []},
            "rlimits": [limit._asdict() for limit in process.rlimits],
            "noNewPrivileges": process.no_new_privileges,
        },
        "root": {"path": "rootfs", "readonly": spec.root_readonly},
        "hostname": spec.hostname,
        "mounts": [
            {"destination": m.destination, "type": m.type, "source": m.source, "options": list(m.options)}
            for m in spec.mounts
        ],
        "annotations": {
            "org.rootless.rl.seccomp": spec.seccomp,
            "org.rootless.rl.init": "true" if spec.init else "false",
        },
        "linux": {
            "namespaces": [{"type": n.type, **({"path": n.path} if n.path else {})} for n in spec.namespaces],
            "uidMappings": [_mapping(m) for m in spec.uid_mappings],
            "gidMappings": [_mapping(m) for m in spec.gid_mappings],
            "maskedPaths": list(spec.masked_paths),
            "readonlyPaths": list(spec.readonly_paths),
            "sysctl": dict(spec.sysctl),
        },
    }


def _mapping(triple: tuple[int, int, int]) -> dict[str, int]:
    return {"containerID": triple[0], "hostID": triple[1], "size": triple[2]}


def _triple(raw: dict[str, int]) -> tuple[int, int, int]:
    return raw["containerID"], raw["hostID"], raw["size"]


def from_json(raw: dict[str, Any]) -> Spec:
    """Read the document that ``to_json`` made."""
    process, linux, notes = raw["process"], raw["linux"], raw["annotations"]
    user = process["user"]
    return Spec(
        process=Process(
            args=tuple(process["args"]),
            env=tuple(process["env"]),
            cwd=process["cwd"],
            terminal=process["terminal"],
            uid=user["uid"],
            gid=user["gid"],
            additional_gids=tuple(user["additionalGids"]),
            capabilities=tuple(process["capabilities"]["bounding"]),
            rlimits=tuple(RlimitSpec(**limit) for limit in process["rlimits"]),
            no_new_privileges=process["noNewPrivileges"],
        ),
        hostname=raw["hostname"],
        mounts=tuple(MountSpec(m["destination"], m["type"], m["source"], tuple(m["options"])) for m in raw["mounts"]),
        namespaces=tuple(Namespace(n["type"], n.get("path", "")) for n in linux["namespaces"]),
        root_readonly=raw["root"]["readonly"],
        masked_paths=tuple(linux["maskedPaths"]),
        readonly_paths=tuple(linux["readonlyPaths"]),
        uid_mappings=tuple(_triple(m) for m in linux["uidMappings"]),
        gid_mappings=tuple(_triple(m) for m in linux["gidMappings"]),
        sysctl=tuple(linux["sysctl"].items()),
        seccomp=notes["org.rootless.rl.seccomp"],
        init=notes["org.rootless.rl.init"] == "true",
    )


def save(directory: str, spec: Spec) -> None:
    """Write the bundle's ``config.json``."""
    with open(f"{directory}/config.json", "w") as file:
        file.write(codec.dumps(to_json(spec)))


def load(directory: str) -> Spec:
    """Read the bundle's ``config.json``."""
    return from_json(codec.load(f"{directory}/config.json"))
