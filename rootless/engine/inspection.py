"""``rl inspect`` of a container, in the shape of Docker's API, with what this host made of it under ``Rl``."""

from __future__ import annotations

from rootless.container import spec
from rootless.container import state as states
from rootless.engine.logview import timestamp
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from rootless.container.record import ContainerRecord
    from rootless.container.state import ContainerState

_NEVER = "0001-01-01T00:00:00Z"


def container(directory: str, note: ContainerRecord, now: ContainerState) -> dict[str, Any]:
    """Return the document for one container."""
    made = spec.load(directory)
    request = note.request
    path, *args = made.process.args
    running = now.status == states.RUNNING
    return {
        "Id": note.id,
        "Created": timestamp(note.created),
        "Path": path,
        "Args": args,
        "State": {
            "Status": now.status,
            "Running": running,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "Pid": now.pid,
            "ExitCode": now.exit_code,
            "Error": now.error,
            "StartedAt": timestamp(now.started) if now.started else _NEVER,
            "FinishedAt": timestamp(now.finished) if now.finished else _NEVER,
        },
        "Image": note.image_id,
        "ResolvConfPath": f"{directory}/files/resolv.conf",
        "HostnamePath": f"{directory}/files/hostname",
        "HostsPath": f"{directory}/files/hosts",
        "LogPath": f"{directory}/log",
        "Name": f"/{note.name}",
        "RestartCount": 0,
        "Driver": note.rootfs.driver,
        "Platform": "linux",
        "HostConfig": {
            "Binds": [
                f"{v.source}:{v.target}{':ro' if v.readonly else ''}" for v in request.volumes if v.kind == "bind"
            ],
            "NetworkMode": note.network,
            "AutoRemove": note.auto_remove,
            "CapAdd": list(request.cap_add) or None,
            "CapDrop": list(request.cap_drop) or None,
            "Privileged": request.privileged,
            "ReadonlyRootfs": request.read_only,
            "SecurityOpt": list(request.security_opt) or None,
            "UsernsMode": request.userns or "",
            "Init": request.init,
            "MaskedPaths": list(made.masked_paths),
            "ReadonlyPaths": list(made.readonly_paths),
        },
        "GraphDriver": {
            "Name": note.rootfs.driver,
            "Data": {
                "LowerDir": ":".join(note.rootfs.lowers),
                "UpperDir": note.rootfs.upper,
                "WorkDir": note.rootfs.work,
                "MergedDir": note.rootfs.root,
            },
        },
        "Mounts": [
            {
                "Type": v.kind,
                "Source": v.source,
                "Destination": v.target,
                "Mode": "ro" if v.readonly else "",
                "RW": not v.readonly,
                "Propagation": "rprivate" if v.kind == "bind" else "",
            }
            for v in request.volumes
        ],
        "Config": {
            "Hostname": made.hostname,
            "User": request.user or "",
            "AttachStdin": note.open_stdin and not request.detach,
            "AttachStdout": not request.detach,
            "AttachStderr": not request.detach,
            "Tty": note.tty,
            "OpenStdin": note.open_stdin,
            "Env": list(made.process.env),
            "Cmd": list(made.process.args),
            "Image": note.image,
            "WorkingDir": made.process.cwd,
            "Labels": note.labels,
            "StopSignal": note.stop_signal,
            "StopTimeout": note.stop_timeout,
        },
        "NetworkSettings": {"Ports": {}, "Networks": {}},
        "Rl": {
            "UidMap": note.uid_map.splitlines(),
            "GidMap": note.gid_map.splitlines(),
            "HolderUidMap": note.holder_uid_map.splitlines(),
            "HolderGidMap": note.holder_gid_map.splitlines(),
            "Layers": list(note.layer_keys),
            "Notes": [*note.notes, *now.notes],
            "Monitor": now.monitor,
            "Host": now.host,
        },
    }
