"""What a child does to become a container, as data: each step names itself and has one ``apply``.

A step's ``apply`` runs after fork: no import, no log, no lock. Sources on the host are named by
the key under which ``OpenSources`` opened them, targets by their path inside the new root.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from rootless.container import users
from rootless.linux import caps, link, mount, ns, prctl, rlimit, seccomp
from rootless.tuples import NamedTuple

if TYPE_CHECKING:
    from fs.snapshot.driver import Driver, Rootfs
    from rootless.runtime.kernel import Kernel

#: Where the new root is built. It must exist for whoever the child has become; what it hides in
#: the child's own mount namespace was opened before.
NEW_ROOT = "/tmp"


class Step(Protocol):
    """One change that a child makes to itself."""

    def apply(self, kernel: Kernel) -> None:
        """Make the change, or raise OSError."""


class FirstOf(NamedTuple):
    """The rungs of a ladder: the first that does not fail with EPERM, EACCES, EINVAL or the like."""

    rungs: tuple[tuple[str, tuple[Step, ...]], ...]

    def apply(self, kernel: Kernel) -> None:
        for position, (name, steps) in enumerate(self.rungs):
            try:
                for step in steps:
                    step.apply(kernel)
            except OSError as e:
                if position + 1 == len(self.rungs):
                    raise
                kernel.note(f"{name}: {e.strerror}")
            else:
                if position:
                    kernel.note(f"using {name}")
                return


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
    """Enter the namespaces of a container, never reachable from inside: (descriptor, kind) each, user first."""

    namespaces: tuple[tuple[int, int], ...]

    def apply(self, kernel: Kernel) -> None:
        # Before entering: from then on the container could look at this process, which is the interpreter.
        prctl.prctl(prctl.PR_SET_DUMPABLE, 0)
        for fd, kind in self.namespaces:
            ns.setns(fd, kind)
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


class Propagation(NamedTuple):
    """Set how mounts below ``/`` of the new namespace propagate (mount_namespaces(7))."""

    flags: int

    def apply(self, kernel: Kernel) -> None:
        mount.mount(None, "/", None, mount.MS_REC | self.flags)


class MountRoot(NamedTuple):
    """Mount the root file system and build beneath it from here on."""

    driver: Driver
    rootfs: Rootfs

    def apply(self, kernel: Kernel) -> None:
        self.driver.mount(self.rootfs, kernel.rootfs_fds, NEW_ROOT, False)
        kernel.root = os.open(NEW_ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class MountFs(NamedTuple):
    """Mount a file system of the kernel's on ``target``."""

    fstype: str
    target: str
    flags: int
    data: str = ""

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        with kernel.beneath(self.target, directory=True) as where:
            mount.mount(self.fstype, where.path, self.fstype, self.flags, self.data or None)


class Bind(NamedTuple):
    """Bind the source ``key`` on ``target`` with everything mounted below it."""

    key: str
    target: str
    set_attributes: int = 0
    recursive: bool = True

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        source = kernel.fds[self.key]
        directory = stat.S_ISDIR(os.fstat(source).st_mode)
        with kernel.beneath(self.target, directory=directory) as where:
            flags = mount.MS_BIND | (mount.MS_REC if self.recursive else 0)
            mount.mount(f"/proc/self/fd/{source}", where.path, None, flags)
        if self.set_attributes:
            with kernel.beneath(self.target, directory=directory) as mounted:
                kernel.restrict(mounted.fd, self.set_attributes, recursive=self.recursive)


class BindHost(NamedTuple):
    """Bind a path of the host, as it is still seen before pivot_root, with what is mounted below it."""

    source: str
    target: str
    set_attributes: int = 0

    def apply(self, kernel: Kernel) -> None:
        with kernel.beneath(self.target, directory=True) as where:
            # Without MS_REC it is EINVAL: what an outer namespace has mounted over parts of it is locked.
            mount.mount(self.source, where.path, None, mount.MS_BIND | mount.MS_REC)
        if self.set_attributes:
            with kernel.beneath(self.target, directory=True) as mounted:
                kernel.restrict(mounted.fd, self.set_attributes, recursive=True)


class Symlink(NamedTuple):
    """Make a symbolic link in the new root; what is there already stays."""

    text: str
    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        parent, _, name = self.target.rpartition("/")
        with kernel.beneath(parent or "/", directory=True) as where:
            try:
                os.symlink(self.text, name, dir_fd=where.fd)
            except FileExistsError:
                return


class MakeDirectory(NamedTuple):
    """Make a directory in the new root, with its parents, where it is missing."""

    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        with kernel.beneath(self.target, directory=True):
            pass


class Mask(NamedTuple):
    """Hide a path of the new root, if it exists: a file behind /dev/null, a directory behind an empty tmpfs."""

    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        try:
            fd = kernel.open_existing(self.target)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            where = f"/proc/self/fd/{fd}"
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                flags = mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
                mount.mount("tmpfs", where, "tmpfs", flags, "size=0k,nr_inodes=2,mode=0755")
            else:
                mount.mount(f"/proc/self/fd/{kernel.fds['/dev/null']}", where, None, mount.MS_BIND)
        finally:
            os.close(fd)


class MakeReadonly(NamedTuple):
    """Bind a path of the new root, if it exists, on itself and make it read-only."""

    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        try:
            fd = kernel.open_existing(self.target)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            where = f"/proc/self/fd/{fd}"
            mount.mount(where, where, None, mount.MS_BIND | mount.MS_REC)
        finally:
            os.close(fd)
        mounted = kernel.open_existing(self.target)
        try:
            kernel.restrict(mounted, mount.MOUNT_ATTR_RDONLY, recursive=True)
        finally:
            os.close(mounted)


class RestrictRoot(NamedTuple):
    """Make the root file system itself read-only; what is mounted on it keeps its own flags."""

    def apply(self, kernel: Kernel) -> None:
        kernel.restrict(kernel.root, mount.MOUNT_ATTR_RDONLY, recursive=False)


class PivotRoot(NamedTuple):
    """Make the new root the root of the namespace and let go of the old one (pivot_root(2), NOTES)."""

    def apply(self, kernel: Kernel) -> None:
        os.fchdir(kernel.root)
        try:
            mount.pivot_root(".", ".")
            mount.umount(".", mount.MNT_DETACH)
        except OSError as e:
            if e.errno != errno.EINVAL:
                raise
            # The old root is the kernel's initial ramfs, which cannot be moved.
            mount.mount(".", "/", None, mount.MS_MOVE)
            os.chroot(".")
        os.chdir("/")
        os.close(kernel.root)
        kernel.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


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
    """Write a kernel setting of the own namespaces; read-only ones must come before masks."""

    key: str
    value: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.key)
        fd = os.open("/proc/sys/" + self.key.replace(".", "/"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)


class Rlimit(NamedTuple):
    """Set a resource limit, clamped to what the hard limit allows (getrlimit(2))."""

    resource: int
    soft: int
    hard: int

    def apply(self, kernel: Kernel) -> None:
        rlimit.set_clamped(self.resource, self.soft, self.hard)


class Session(NamedTuple):
    """Become the leader of a new session without a terminal (setsid(2))."""

    def apply(self, kernel: Kernel) -> None:
        os.setsid()


class Terminal(NamedTuple):
    """Open a pseudo-terminal in the container's own devpts, send its master out, and make it 0, 1 and 2.

    ``console``: also bind it on /dev/console, as long as mounts can still be made.
    """

    uid: int
    rows: int
    columns: int
    console: bool

    def apply(self, kernel: Kernel) -> None:
        master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        fcntl.ioctl(master, 0x40045431, b"\0\0\0\0")  # TIOCSPTLCK
        slave = fcntl.ioctl(master, 0x5441, os.O_RDWR | os.O_NOCTTY)  # TIOCGPTPEER (ioctl_tty(2))
        size = kernel.pack_winsize(self.rows, self.columns)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        os.fchown(slave, self.uid, -1)
        if self.console:
            with kernel.beneath("/dev/console", directory=False) as where:
                mount.mount(f"/proc/self/fd/{slave}", where.path, None, mount.MS_BIND)
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.close(slave)
        kernel.send_terminal(master)
        os.close(master)


class OwnStdio(NamedTuple):
    """Give pipes on 0, 1 and 2 to the user that runs the command, who may reopen /dev/stdout."""

    uid: int

    def apply(self, kernel: Kernel) -> None:
        for fd in (0, 1, 2):
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, self.uid, -1)


class NoNewPrivileges(NamedTuple):
    """Never gain privileges by execve(2) again (PR_SET_NO_NEW_PRIVS)."""

    def apply(self, kernel: Kernel) -> None:
        prctl.prctl(prctl.PR_SET_NO_NEW_PRIVS, 1)


class Seccomp(NamedTuple):
    """Load a compiled filter; needs CAP_SYS_ADMIN or no_new_privs, so it comes before ``Capabilities``."""

    program: bytes

    def apply(self, kernel: Kernel) -> None:
        seccomp.set_filter(self.program)


class Identity(NamedTuple):
    """Become the command's user with exactly the capabilities of the bit mask ``keep``.

    A user that is not root keeps them in the bounding set only, as Docker does.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    keep: int
    setgroups: bool

    def apply(self, kernel: Kernel) -> None:
        caps.bounding_drop(self.keep)
        if self.setgroups:
            os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        if self.uid == 0:
            caps.capset(self.keep, self.keep, 0)
        else:
            # From one unprivileged id to itself (a map without a root) the kernel drops nothing.
            caps.capset(0, 0, 0)


class NamedIdentity(NamedTuple):
    """Become the user that -u names, by the container's own passwd and group files."""

    user: str
    keep: int
    setgroups: bool

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.user)
        who = users.resolve(self.user, kernel.read_text("/etc/passwd"), kernel.read_text("/etc/group"))
        kernel.home = who.home
        OwnStdio(who.uid).apply(kernel)
        Identity(who.uid, who.gid, who.groups, self.keep, self.setgroups).apply(kernel)


class ChangeDirectory(NamedTuple):
    """Go to the working directory, as the user that runs the command."""

    path: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.path)
        os.chdir(self.path)


class DieWithMonitor(NamedTuple):
    """Be killed when the parent dies; armed after the last change of credentials, which would clear it."""

    def apply(self, kernel: Kernel) -> None:
        kernel.wait_for_outer()
        prctl.prctl(prctl.PR_SET_PDEATHSIG, 9)
        kernel.check_monitor()


class RunInit(NamedTuple):
    """Stay as process 1 that reaps and forwards signals, and go on with the rest as its child."""

    run: Callable[[Kernel], None]

    def apply(self, kernel: Kernel) -> None:
        self.run(kernel)


class Exec(NamedTuple):
    """Replace the child by the command; the search follows PATH of ``environment`` (execvp(3))."""

    arguments: tuple[str, ...]
    environment: tuple[str, ...]

    def apply(self, kernel: Kernel) -> None:
        name = self.arguments[0]
        kernel.about(name)
        environment = {}
        for item in self.environment:
            key, _, value = item.partition("=")
            environment[key] = value
        if kernel.home:
            environment.setdefault("HOME", kernel.home)
        kernel.restore_signals()
        if "/" in name:
            os.execve(name, self.arguments, environment)
        worst: int = errno.ENOENT
        for directory in environment.get("PATH", "/bin:/usr/bin").split(":"):
            path = f"{directory or '.'}/{name}"
            try:
                if not stat.S_ISREG(os.stat(path).st_mode):
                    continue
                os.execve(path, self.arguments, environment)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ENOTDIR):
                    worst = e.errno or errno.EIO
                    if worst != errno.EACCES:
                        break
        raise OSError(worst, os.strerror(worst), name)
