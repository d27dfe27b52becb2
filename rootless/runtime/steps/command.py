"""Steps of the process that becomes the command: terminal, limits, identity, exec."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import termios

from rootless.container import users
from rootless.linux import caps, keyctl, mount, prctl, rlimit, seccomp
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.runtime.kernel import Kernel


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


class SessionKeyring(NamedTuple):
    """Take a session keyring of one's own, so that the caller's keys (Kerberos tickets) stay outside."""

    def apply(self, kernel: Kernel) -> None:
        try:
            keyctl.join_new_session_keyring()
        except OSError as e:
            # Quotas of keys are small, and a key that is not possessed cannot be read anyway.
            kernel.note(f"no session keyring: {e.strerror}")


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
            if os.path.isdir(name):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
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
