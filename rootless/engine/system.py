"""What rl is and what it can do on this host: ``rl info`` and ``rl version``.

Facts that cannot be found out are told as such: ``info`` works on a host where nothing else does.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from rootless import config, paths
from rootless.errors import RlError
from rootless.linux import ns

if TYPE_CHECKING:
    from rootless.paths import Paths

_CGROUP_ROOT: Final = "/sys/fs/cgroup"
_DISTRIBUTION: Final = "rootless"
_GOARCH: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

Facts = dict[str, Any]


def version() -> Facts:
    """Return the versions of rl and of what it runs on; keys as in Docker's client."""
    host = os.uname()
    return {
        "Version": _own_version(),
        "Python": sys.version.split()[0],
        "Os": "linux",
        "Arch": _GOARCH.get(host.machine, host.machine),
        "KernelVersion": host.release,
    }


def _own_version() -> str:
    # Slow (an e-mail parser), hence here.
    from importlib import metadata

    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def info() -> Facts:
    """Return what rl uses on this host, rung by rung, and under "Improve" what an admin would type."""
    where = paths.find()
    improve: list[str] = []
    facts = {
        **version(),
        "Paths": {"Data": where.data, "Runtime": where.runtime, "Config": where.config},
        "Containers": _containers(where),
        "Images": _count_images(where),
        "Ids": _ids(improve),
        "UserNamespaces": _user_namespaces(improve),
        "Storage": _storage(where, improve),
        "Cgroup": cgroup(_read("/proc/self/cgroup"), _CGROUP_ROOT),
        "Security": _security(),
    }
    return {**facts, "Improve": improve}


def _ids(improve: list[str]) -> Facts:
    from idmap import detect, plan

    try:
        host = detect.gather()
        held = plan.holder(host)
    except (RlError, OSError) as error:
        return _failure(error, improve)
    improve += [held.note, *host.problems] if held.note else host.problems
    return {
        "Way": "one" if held.single else "range",
        "Count": min(held.maps.uids.count, held.maps.gids.count),
        "WrittenBy": {plan.HELPERS: "newuidmap", plan.DIRECT: "root", plan.ONE: "me"}[held.how],
        "Uids": held.maps.uids.text().splitlines(),
        "Gids": held.maps.gids.text().splitlines(),
    }


def _storage(where: Paths, improve: list[str]) -> Facts:
    from fs.snapshot import choose

    try:
        forced = config.load(where.config).storage_driver or None
        driver, reason = choose.choose(where, forced)
    except (RlError, OSError) as error:
        return _failure(error, improve)
    return {"Driver": driver, "Reason": reason}


def _failure(error: RlError | OSError, improve: list[str]) -> Facts:
    if isinstance(error, RlError):
        if error.hint:
            improve.append(f"{error.message}: {error.hint}")
        return {"Error": error.message}
    return {"Error": str(error)}


def _user_namespaces(improve: list[str]) -> Facts:
    number = _try_user_namespace()
    if number == 0:
        return {"Available": True}
    from rootless.runtime import diagnose

    return {"Available": False, **_failure(diagnose.no_user_namespace(number), improve)}


def _try_user_namespace() -> int:
    """Make a user namespace in a child; return the errno it failed with, or 0."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            ns.unshare(ns.CLONE_NEWUSER)
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _containers(where: Paths) -> Facts:
    from rootless.engine import containers

    try:
        views = containers.list_containers(all=True)
    except (RlError, OSError) as error:
        return {"Error": str(error)}
    return {"Total": len(views), "Running": sum(view.state == "running" for view in views)}


def _count_images(where: Paths) -> int | str:
    from fs.layout import Layout

    try:
        return len(Layout(where.data).tags())
    except (RlError, OSError) as error:
        return str(error)


def cgroup(own: str, root: str) -> Facts:
    """Return which cgroups there are; ``own`` is the text of /proc/self/cgroup, ``root`` where cgroup v2 is mounted."""
    if not os.path.exists(f"{root}/cgroup.controllers"):
        return {"Version": 1 if os.path.isdir(f"{root}/memory") else 0, "Delegated": False}
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    here = root + path.rstrip("/")
    return {
        "Version": 2,
        "Path": path,
        "Delegated": os.access(f"{here}/cgroup.procs", os.W_OK) and os.access(here, os.W_OK),
        "Controllers": _read(f"{here}/cgroup.controllers").split(),
    }


def _security() -> Facts:
    return {
        "Seccomp": bool(_read("/proc/sys/kernel/seccomp/actions_avail")),
        "Modules": [name for name in _read("/sys/kernel/security/lsm").split(",") if name],
        "NoNewPrivileges": "\nNoNewPrivs:\t1" in _read("/proc/self/status"),
    }


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
