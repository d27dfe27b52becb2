"""Try overlayfs for real, once, and say in one line why it does not work here."""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from fs import staging
from fs.snapshot import overlay
from fs.snapshot.driver import Rootfs
from rootless.errors import RlError
from rootless.linux import mount as linux_mount
from rootless.linux import ns
from rootless.linux.statfs import file_system

if TYPE_CHECKING:
    from rootless.paths import Paths

_REPORT: Final = struct.Struct("=ii")
_STAGES: Final = ("layers", "namespace", "mount", "hides", "writes", "removes")
_NETWORKED: Final = frozenset(("nfs", "cifs", "smb2", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "fuse"))


class Failure(NamedTuple):
    """Where the trial ended, one of the stages, and errno (0: no error, but the wrong result)."""

    stage: str
    number: int


def overlay_trouble(paths: Paths, enter: Callable[[], None] | None, owner: tuple[int, int] | None) -> str:
    """Return '' if containers can have overlayfs under ``paths.data``, else why not."""
    with staging.new(paths.tmp) as directory:
        failure = _try(directory, enter, owner)
        return "" if failure is None else explain(failure, file_system(directory), os.uname().release)


def _try(directory: str, enter: Callable[[], None] | None, owner: tuple[int, int] | None) -> Failure | None:
    try:
        rootfs = _make(directory, owner)
    except OSError as e:
        return Failure("layers", e.errno or 0)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            _in_child(directory, rootfs, enter or _own_namespace, writer)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        report = pipe.read()
    os.waitpid(pid, 0)
    if len(report) != _REPORT.size:
        return Failure("namespace", errno.ECHILD)
    stage, number = _REPORT.unpack(report)
    return None if stage == len(_STAGES) else Failure(_STAGES[stage], number)


def _make(directory: str, owner: tuple[int, int] | None) -> Rootfs:
    """Make two layers, of which the upper has an opaque directory."""
    rootfs = Rootfs("overlay", ("top", "bottom"), "upper", "work", "rootfs")
    made = [*rootfs[1], "bottom/old", "top/old", rootfs.upper, rootfs.work, rootfs.root]
    for name in made:
        os.mkdir(f"{directory}/{name}", 0o755)
    for name in ("bottom/old/hidden", "bottom/file"):
        os.close(os.open(f"{directory}/{name}", os.O_CREAT | os.O_CLOEXEC, 0o644))
        made.append(name)
    os.setxattr(f"{directory}/top/old", "user.overlay.opaque", b"y")
    if owner is not None and owner != (os.geteuid(), os.getegid()):
        for name in made:
            os.chown(f"{directory}/{name}", *owner)
        os.chmod(directory, 0o711)  # beneath a directory of mode 0700; the child is already in it
    return rootfs


def _in_child(directory: str, rootfs: Rootfs, enter: Callable[[], None], report: int) -> None:
    # The kernel takes the current directory along into a new mount namespace; other descriptors it does not,
    # and the namespace's root may not be able to walk the path.
    os.chdir(directory)
    stage = _STAGES.index("namespace")
    number = 0
    try:
        enter()
        ns.unshare(ns.CLONE_NEWNS)
        linux_mount.mount(None, "/", None, linux_mount.MS_REC | linux_mount.MS_PRIVATE)
        stage += 1
        overlay.DRIVER.mount(rootfs, overlay.DRIVER.open(rootfs), rootfs.root, readonly=False)
        for check in (_hides, _writes, _removes):
            stage += 1
            check(rootfs.root)
        stage += 1
    except OSError as e:
        number = e.errno or 0
    except RlError:
        number = errno.EPERM
    os.write(report, _REPORT.pack(stage, number))


def _own_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    ns.unshare(ns.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _hides(root: str) -> None:
    if os.listdir(f"{root}/old"):
        raise OSError(0, "an opaque directory is not")


def _writes(root: str) -> None:
    with open(f"{root}/file", "w") as file:
        file.write("changed")
    os.rename(f"{root}/file", f"{root}/renamed")


def _removes(root: str) -> None:
    os.rmdir(f"{root}/old")
    if sorted(os.listdir(root)) != ["renamed"]:
        raise OSError(0, "what was removed is there")


def explain(failure: Failure, kind: str, release: str) -> str:
    """Say why overlayfs does not work on a file system of this kind under this kernel."""
    version = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    stage, number = failure
    if stage == "namespace":
        return f"no namespace could be made for a trial ({_name(number)})"
    if kind in ("overlay", "aufs"):
        return f"the data directory is on {kind}, which cannot carry another overlay"
    if kind in _NETWORKED:
        return f"the data directory is on {kind}, which cannot carry an overlay's upper layer"
    if stage == "layers":
        if number in (errno.EOPNOTSUPP, errno.EPERM):
            return f"the data directory's file system ({kind}) keeps no user.* attributes"
        return f"no trial could be made in the data directory ({_name(number)})"
    if number == errno.ENODEV:
        return "the kernel has no overlayfs"
    if stage == "mount" and version < (5, 11):
        return f"Linux {release} does not let users mount overlayfs; 5.11 does"
    if stage == "mount" and number == errno.EPERM:
        return "mounting overlayfs in a user namespace is forbidden here (a security module or seccomp filter)"
    if stage == "hides" and number == 0:
        return f"overlayfs ignores opaque directories on {kind}"
    return f"overlayfs on {kind} fails under Linux {release}: {stage} ({_name(number)})"


def _name(number: int) -> str:
    return errno.errorcode.get(number, "wrong result")
