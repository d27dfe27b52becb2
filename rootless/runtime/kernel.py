"""What the steps of one child share: the root being built, open descriptors, and the line to the launcher."""

from __future__ import annotations

import _signal
import _socket
import array
import errno
import os
import select
import stat
import struct

from rootless.linux import fd as fds
from rootless.linux import mount
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

_IN_ROOT = fds.RESOLVE_IN_ROOT | fds.RESOLVE_NO_MAGICLINKS


class Opened:
    """An O_PATH descriptor beneath the new root, closed by ``with``."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @property
    def path(self) -> str:
        """The descriptor as a path that system calls take."""
        return f"/proc/self/fd/{self.fd}"

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class Channel:
    """The child's ends of its pipes and sockets to the launcher.

    ``status``: close-on-exec pipe for notes and failure; empty and closed means that exec happened.
    ``maps``: a socket for the maps handshake, and then for the namespaces.
    ``alive``: read end of a pipe that the monitor holds.
    ``terminal``: a socket that takes the master of a terminal, or -1.
    """

    __slots__ = ("alive", "maps", "outer", "status", "terminal")

    def __init__(self, status: int, maps: int = -1, alive: int = -1, terminal: int = -1) -> None:
        self.status = status
        self.maps = maps
        self.alive = alive
        self.terminal = terminal
        self.outer = -1

    def descriptors(self) -> tuple[int, ...]:
        """Every open descriptor of the channel."""
        return tuple(d for d in (self.status, self.maps, self.alive, self.terminal, self.outer) if d >= 0)


class Kernel:
    """The state that one child's steps build up."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.fds: dict[str, int] = {}
        self.rootfs_fds: tuple[int, ...] = ()
        self.root = -1
        self.subject = ""
        self.home = ""

    def about(self, subject: str) -> None:
        """Name what the current step works on, for the message if it fails."""
        self.subject = subject

    def note(self, text: str) -> None:
        """Send a remark that ``-v`` shows; one atomic write (pipe(7), PIPE_BUF)."""
        self._say("N" + text, 500)

    def _say(self, line: str, limit: int) -> None:
        # A path may have a newline, but never a NUL: that stands for it on the line.
        text = line.replace("\n", "\0").encode(errors="surrogateescape")[:limit]
        os.write(self.channel.status, text + b"\n")

    def beneath(self, path: str, *, directory: bool) -> Opened:
        """Open ``path`` beneath the new root, making what is missing; the type must be right.

        Raises:
            OSError: ENOTDIR or EISDIR - something else is in the way; ELOOP - a magic link.
        """
        try:
            fd = fds.openat2(self.root, path, os.O_PATH, resolve=_IN_ROOT)
        except FileNotFoundError:
            fd = self._make(path, directory)
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        if is_directory != directory:
            os.close(fd)
            number = errno.ENOTDIR if directory else errno.EISDIR
            raise OSError(number, os.strerror(number), path)
        return Opened(fd)

    def _make(self, path: str, directory: bool) -> int:
        parent, _, name = path.rstrip("/").rpartition("/")
        if not name or name in (".", ".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        with self.beneath(parent or "/", directory=True) as above:
            if directory:
                os.mkdir(name, 0o755, dir_fd=above.fd)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=above.fd))
            return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above.fd)

    def open_existing(self, path: str, flags: int) -> int:
        """Open a path beneath the new root that is there; the caller closes it."""
        return fds.openat2(self.root, path, flags, resolve=_IN_ROOT)

    def existing(self, path: str) -> Opened | None:
        """Return what is at ``path`` beneath the new root, or None where this kernel or image has nothing there."""
        try:
            return Opened(self.open_existing(path, os.O_PATH))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_text(self, path: str, limit: int = 1 << 20) -> str:
        """Return up to ``limit`` bytes of a regular file of the new root, "" where there is none."""
        try:
            fd = fds.openat2(self.root, path, os.O_RDONLY | os.O_NONBLOCK, resolve=_IN_ROOT)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return os.read(fd, limit).decode(errors="surrogateescape")
        finally:
            os.close(fd)

    def restrict(self, fd: int, attributes: int, *, recursive: bool) -> None:
        """Add mount attributes; before Linux 5.12 by a remount of the one mount that keeps its locked flags."""
        try:
            mount.mount_setattr(fd, recursive=recursive, set_=attributes)
        except OSError as e:
            if e.errno != errno.ENOSYS:
                raise
            flags = os.fstatvfs(fd).f_flag & (mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC)
            wanted = mount.MS_RDONLY if attributes & mount.MOUNT_ATTR_RDONLY else 0
            mount.mount(None, f"/proc/self/fd/{fd}", None, mount.MS_REMOUNT | mount.MS_BIND | flags | wanted)

    def await_maps(self) -> None:
        """Let the launcher write this process' id maps.

        Raises:
            ConnectionAbortedError: the launcher failed or is gone.
        """
        os.write(self.channel.maps, b"u")
        if os.read(self.channel.maps, 1) != b"m":
            raise ConnectionAbortedError(errno.ECONNABORTED, "the launcher wrote no id maps")

    def send_namespaces(self, namespaces: list[int]) -> None:
        """Send descriptors to the launcher, which takes them once exec was reached (unix(7), SCM_RIGHTS)."""
        sock = _socket.socket(fileno=self.channel.maps)
        sock.sendmsg([b"n"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", namespaces))])
        sock.close()
        self.channel.maps = -1
        for fd in namespaces:
            os.close(fd)

    def wait_for_outer(self) -> None:
        """Wait until the process that forked this one has ended, so that the monitor is the parent.

        Its pidfd tells only once its children have their new parent; a pipe that it held open would be
        closed earlier, and a death signal armed in between would be that of its own end (exit(2)).
        """
        if self.channel.outer >= 0:
            poll = select.poll()
            poll.register(self.channel.outer, select.POLLIN)
            poll.poll()
            os.close(self.channel.outer)
            self.channel.outer = -1

    def check_monitor(self) -> None:
        """End at once if the monitor died before the death signal was armed: its pipe would be closed."""
        if self.channel.alive < 0:
            return
        os.set_blocking(self.channel.alive, False)
        try:
            if os.read(self.channel.alive, 1) == b"":
                os._exit(137)
        except BlockingIOError:
            return

    def send_terminal(self, master: int) -> None:
        """Send the master side of a terminal out (unix(7), SCM_RIGHTS)."""
        sock = _socket.socket(fileno=self.channel.terminal)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [master]))]
        sock.sendmsg([b"t"], rights)
        sock.close()
        self.channel.terminal = -1

    @staticmethod
    def pack_winsize(rows: int, columns: int) -> bytes:
        """Return struct winsize (ioctl_tty(2))."""
        return struct.pack("HHHH", rows, columns, 0, 0)

    @staticmethod
    def restore_signals() -> None:
        """Undo what Python changed: SIGPIPE and SIGXFSZ are ignored by it, and would stay so over exec."""
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())

    def fail(self, phase: int, index: int, number: int, text: str) -> NoReturn:
        """Report which step failed with which errno, and end."""
        self._say(f"F{phase} {index} {number} {text}\t{self.subject}", 4000)
        os._exit(125)
