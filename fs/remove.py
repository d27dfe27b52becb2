"""Delete a tree by descriptors: no symlink is followed, whatever somebody swaps in meanwhile.

Works inside a user namespace, where ``work/`` is mode 000 and files have other owners, and from outside
with a worker in that namespace. Mounts are never entered.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.linux import fd as linux_fd
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_PATH: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_MAX_DEPTH: Final = 100  # a descriptor each; what lies deeper is first moved to the top
_MAX_STUCK: Final = 256
_MAX_PASSES: Final = 10_000  # over one directory: somebody may be making entries as fast as they go
_ROUNDS: Final = 1000


class _Deleter:
    """One run over one tree: what could not be deleted, and why."""

    def __init__(self) -> None:
        self.first_error: OSError | None = None
        self.stuck: list[int] = []  # O_PATH descriptors of directories that are somebody else's

    def close(self) -> None:
        for fd in self.stuck:
            os.close(fd)
        self.stuck = []

    def delete(self, dir_fd: int, name: str, top: int = -1, depth: int = 0) -> None:
        """Delete ``name``, a file or a tree, from the directory ``dir_fd``."""
        try:
            os.unlink(name, dir_fd=dir_fd)
            return
        except FileNotFoundError:
            return
        except OSError as e:
            # EPERM is what POSIX has for a directory, and what a file in a sticky directory gives.
            if e.errno != errno.EISDIR and not (e.errno == errno.EPERM and _is_directory(dir_fd, name)):
                self._failed(e)
                return
        if depth > _MAX_DEPTH and _lift(dir_fd, name, top):
            return
        try:
            fd = _open_directory(dir_fd, name)
        except OSError as e:
            self._stuck(dir_fd, name, e)
        else:
            try:
                if os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True):
                    self.contents(fd, fd if top < 0 else top, depth)
                else:
                    self._stuck(dir_fd, name, PermissionError(errno.EACCES, os.strerror(errno.EACCES), name))
            finally:
                os.close(fd)
        try:
            os.rmdir(name, dir_fd=dir_fd)  # an empty one can go, whoever owns it
        except OSError as e:
            self._failed(e)

    def contents(self, fd: int, top: int, depth: int) -> None:
        """Delete everything in the directory ``fd``."""
        tried: set[str] = set()
        # A directory that shrinks while it is read may skip entries, and deep trees are moved to the top.
        for _ in range(_MAX_PASSES):
            names = set(os.listdir(fd)) - tried
            if not names:
                return
            tried |= names
            for name in names:
                self.delete(fd, name, top, depth + 1)

    def _failed(self, error: OSError) -> None:
        if error.errno != errno.ENOENT and self.first_error is None:
            self.first_error = error

    def _stuck(self, dir_fd: int, name: str, error: OSError) -> None:
        self._failed(error)
        if error.errno == errno.EACCES and len(self.stuck) < _MAX_STUCK:
            try:
                self.stuck.append(os.open(name, _PATH | os.O_CLOEXEC, dir_fd=dir_fd))
            except OSError as e:
                self._failed(e)


def _is_directory(dir_fd: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _lift(dir_fd: int, name: str, top: int) -> bool:
    """Move a deep directory up, so that neither descriptors nor the stack run out."""
    try:
        # Its own permissions first: a directory that gets another parent is written to.
        os.close(_open_directory(dir_fd, name))
        os.rename(name, f".deep-{os.urandom(8).hex()}", src_dir_fd=dir_fd, dst_dir_fd=top)
    except OSError:
        return False
    return True


def _open_directory(dir_fd: int, name: str) -> int:
    """Open a directory to empty it, with its owner's permissions restored where they are ours to restore.

    Raises:
        OSError: EXDEV - something is mounted there; EACCES - it is somebody else's.
    """
    try:
        fd = _beneath(dir_fd, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.fstat(fd).st_mode & 0o700 == 0o700:
            return fd
    except PermissionError:
        fd = _beneath(dir_fd, name, _PATH)
    try:
        try:
            os.chmod(f"/proc/self/fd/{fd}", 0o700)
        except PermissionError:
            pass  # somebody else's; whether it can be read is seen now
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def _beneath(dir_fd: int, name: str, flags: int) -> int:
    try:
        resolve = linux_fd.RESOLVE_NO_XDEV | linux_fd.RESOLVE_BENEATH
        return linux_fd.openat2(dir_fd, name, flags, resolve=resolve)
    except OSError as e:
        if e.errno not in (errno.ENOSYS, errno.EPERM):  # EPERM: a seccomp filter older than the call
            raise
    fd = os.open(name, flags | os.O_CLOEXEC, dir_fd=dir_fd)
    if os.fstat(fd).st_dev != os.fstat(dir_fd).st_dev:
        os.close(fd)
        raise OSError(errno.EXDEV, "something is mounted there", name)
    return fd


def contents(fd: int) -> None:
    """Delete everything in the directory ``fd``, which may be O_PATH, but not the directory itself.

    Goes on after errors and raises the first at the end.
    """
    deleter = _Deleter()
    try:
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{fd}", 0o700)
        own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deleter.contents(own, own, 0)
        finally:
            os.close(own)
        if deleter.first_error is not None:
            raise deleter.first_error
    finally:
        deleter.close()


def tree(path: str, enter: Callable[[], None] | None = None) -> None:
    """Delete ``path``, whatever it is; nothing there is no error.

    ``enter`` is called in a forked worker, single-threaded, and makes it the root of the user namespace
    whose ids own the files; it is only used where our own permissions do not suffice.

    Raises:
        OSError: the first of the errors; all that could be deleted has been.
    """
    parent, name = os.path.split(path.rstrip("/"))
    try:
        parent_fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for _ in range(_ROUNDS):
            deleter = _Deleter()
            try:
                deleter.delete(parent_fd, name)
                if deleter.first_error is None:
                    return
                if enter is None or not deleter.stuck or not _in_namespace(deleter.stuck, enter):
                    raise deleter.first_error
            finally:
                deleter.close()
    finally:
        os.close(parent_fd)


def _in_namespace(fds: list[int], enter: Callable[[], None]) -> bool:
    """Empty the directories ``fds`` from within the namespace; tell whether that made a difference."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            enter()
            for fd in fds:
                try:
                    contents(fd)
                    status = 0
                except OSError:
                    continue
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
