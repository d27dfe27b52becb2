"""Steps that make or join namespaces and take ids in them."""

from __future__ import annotations

import os

from rootless.linux import fsid, link, ns, prctl
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fs.snapshot.driver import Driver, Rootfs
    from rootless.runtime.kernel import Kernel


class JoinNet(NamedTuple):
    """Enter the network namespace of another container, opened beforehand as ``fd``."""

    fd: int

    def apply(self, kernel: Kernel) -> None:
        ns.setns(self.fd, ns.CLONE_NEWNET)


class SendNamespaces(NamedTuple):
    """Send the own namespaces out, by their names in /proc/PID/ns, for those who join later.

    Nobody else may open them: this process is not dumpable, and process 1 may stay so (namespaces(7)).
    """

    names: tuple[str, ...]

    def apply(self, kernel: Kernel) -> None:
        kernel.send_namespaces([os.open(f"/proc/self/ns/{n}", os.O_RDONLY | os.O_CLOEXEC) for n in self.names])


class JoinContainer(NamedTuple):
    """Enter the namespaces of a container, never reachable from inside: (descriptor, kind) each.

    That of a network comes first: it may belong to another container's user namespace, where only
    those who have not yet entered this one have rights.
    """

    namespaces: tuple[tuple[int, int], ...]

    def apply(self, kernel: Kernel) -> None:
        # Before entering: from then on the container could look at this process, which is the interpreter.
        prctl.prctl(prctl.PR_SET_DUMPABLE, 0)
        for fd, kind in self.namespaces:
            if kind == ns.CLONE_NEWNET and os.fstat(fd).st_ino == os.stat("/proc/self/ns/net").st_ino:
                continue  # the host's, which it has from a container that shares it, and which we stand in
            ns.setns(fd, kind)
        # Real root's file-system ids do not exist here: a terminal made with them would be nobody's to give away.
        fsid.setfsgid(os.getegid())
        fsid.setfsuid(os.geteuid())
        os.chdir("/")
        kernel.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class Unshare(NamedTuple):
    """Move into new namespaces."""

    flags: int

    def apply(self, kernel: Kernel) -> None:
        ns.unshare(self.flags)


class OpenSources(NamedTuple):
    """Open paths of the host while the caller's own ids still count: (key, absolute path)."""

    sources: tuple[tuple[str, str], ...]

    def apply(self, kernel: Kernel) -> None:
        for key, path in self.sources:
            kernel.about(path)
            kernel.fds[key] = os.open(path, os.O_PATH | os.O_CLOEXEC)


class OpenRootfs(NamedTuple):
    """Open what the root file system is made of, in the new mount namespace (fs.snapshot)."""

    driver: Driver
    rootfs: Rootfs

    def apply(self, kernel: Kernel) -> None:
        kernel.rootfs_fds = self.driver.open(self.rootfs)


class AwaitMaps(NamedTuple):
    """Tell the launcher that the user namespace is there and wait until it has written the maps."""

    def apply(self, kernel: Kernel) -> None:
        kernel.await_maps()


class BecomeRoot(NamedTuple):
    """Become ``uid``:``gid`` of the own user namespace, which owns the mounts to come."""

    uid: int
    gid: int
    setgroups: bool

    def apply(self, kernel: Kernel) -> None:
        if self.setgroups:
            os.setgroups(())
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        # A change of uid from the overflow id drops nothing here, but makes later opens of /proc/self
        # root's; the interpreter must not be reachable from inside either (CVE-2019-5736).
        prctl.prctl(prctl.PR_SET_DUMPABLE, 0)


class Hostname(NamedTuple):
    """Set the host name, and the domain name where there is one."""

    name: str
    domain: str = ""

    def apply(self, kernel: Kernel) -> None:
        ns.sethostname(self.name)
        if self.domain:
            ns.setdomainname(self.domain)


class LoopbackUp(NamedTuple):
    """Bring the loopback interface of the own network namespace up."""

    def apply(self, kernel: Kernel) -> None:
        link.set_up("lo")


class Sysctl(NamedTuple):
    """Write a kernel setting of the own namespaces through the new root's /proc, before that is masked."""

    key: str
    value: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.key)
        fd = kernel.open_existing("/proc/sys/" + self.key.replace(".", "/"), os.O_WRONLY)
        try:
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)
