"""Locks between processes, by flock(2) on files that nothing is ever written to.

A lock is advisory and dies with its holder. None is held while a container runs.
"""

from __future__ import annotations

import errno
import fcntl
import os

from fs.trouble import explain
from rootless.errors import StoreError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Final

#: File systems without flock: NFS without lockd, Lustre mounted without -o flock, FUSE.
_NO_LOCKS: Final = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL))


class Busy(BlockingIOError):
    """Somebody else holds the lock, and the caller would not wait."""


class Lock:
    """One lock, held while a ``with`` block runs.

    ``shared`` admits other shared holders. ``ephemeral`` removes the file at the end, for locks whose
    names are without number (one per digest).
    Where the file system has no flock the lock is taken in the runtime directory: it then excludes the
    processes of this host only. What is shared between hosts is published by rename, so that two hosts at
    once cost a second download or a tag to be set again, never damage.
    """

    def __init__(self, path: str, *, shared: bool = False, ephemeral: bool = False, wait: bool = True) -> None:
        self.path = path
        self._operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        self._shared = shared
        self._ephemeral = ephemeral
        self._fd = -1

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            Busy: it is held, and waiting was not wanted.
            StoreError: the lock file cannot be made.
        """
        try:
            self._fd = self._acquire(self.path)
        except Busy:
            raise
        except OSError as e:
            if e.errno == errno.EROFS and self._shared:
                return self  # nothing can be removed from a read-only store
            if e.errno not in _NO_LOCKS:
                raise explain(e, self.path) from e
            self.path = _on_this_host(self.path)
            self._fd = self._acquire(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if self._ephemeral:
                # While it is held: whoever waits for it finds out that the name is gone and takes a new file.
                os.unlink(self.path)
        except OSError:
            pass
        finally:
            # Not only close: a forked child may still have the same open file.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _acquire(self, path: str) -> int:
        while True:
            fd = _open(path)
            try:
                try:
                    fcntl.flock(fd, self._operation)
                except BlockingIOError as e:
                    raise Busy(e.errno, "the lock is held", path) from e
                if not self._ephemeral or _is_at(fd, path):
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _on_this_host(path: str) -> str:
    from fs.digest import Digest
    from rootless import paths

    runtime = paths.find().runtime
    paths.ensure_private(runtime)
    return f"{runtime}/locks/{Digest.of(os.path.realpath(path).encode(errors='surrogateescape')).encoded[:32]}"


def store(data_dir: str, *, exclusive: bool = False, wait: bool = True) -> Lock:
    """Return the lock of the whole store: shared to use what is in it, exclusive to remove what nobody uses."""
    return Lock(f"{data_dir}/locks/store", shared=not exclusive, wait=wait)


def sweep(data_dir: str) -> None:
    """Remove the ephemeral locks that killed processes left."""
    try:
        names = os.listdir(f"{data_dir}/locks")
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(("sha256-", "sha512-")):
            try:
                with Lock(f"{data_dir}/locks/{name}", ephemeral=True, wait=False):
                    continue  # nobody holds it: leaving the block removes it
            except (Busy, StoreError):
                continue
