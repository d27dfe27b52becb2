"""Temporary directories that carry who made them, so that others can tell what a dead process left.

The name is ``<host>.<boot>.<pid>.<start>.<n>``: the boot id's first 8 digits, and the start time in clock
ticks since boot (``linux.pidfd``), which with the pid is a name that is not used twice.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os

from fs.trouble import explain
from rootless.linux import pidfd
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Final

_numbers = itertools.count()
#: What the disk says to whoever fills a temporary directory; told as what it means for the store.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Life:
    """What is known of a maker. No enum.Enum: that module alone takes a millisecond to load."""

    ALIVE: Final = "alive"
    DEAD: Final = "dead"
    ELSEWHERE: Final = "on another host"


class Maker(NamedTuple):
    """A process, named so that the name is never used twice."""

    host: str
    boot: str
    pid: int
    start: int

    @classmethod
    def me(cls) -> Maker:
        """Return the calling process."""
        pid = os.getpid()
        return cls(os.uname().nodename, pidfd.boot_id()[:8], pid, pidfd.start_time(pid))

    @classmethod
    def of(cls, name: str) -> Maker | None:
        """Return who made the directory called ``name``, or None if the name is not one of ours."""
        parts = name.rsplit(".", 4)  # host names have dots
        if len(parts) != 5 or not all(part.isascii() and part.isdigit() for part in parts[2:]):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def life(self) -> str:
        """Tell whether it still runs; only its own host can know, unless that was started anew."""
        here = os.uname().nodename
        if self.boot == pidfd.boot_id()[:8]:  # the same kernel, whatever it calls itself now
            return Life.ALIVE if pidfd.is_alive(self.pid, self.start) else Life.DEAD
        return Life.DEAD if self.host == here else Life.ELSEWHERE


class Staging:
    """A temporary directory under ``tmp``, mode 0700, gone at the end of the ``with`` block.

    What cannot be removed then (files of other ids) is left for ``sweep``. With ``taken`` it is not a new
    directory but that one, renamed: so it vanishes at once from where it was, and a full disk does not matter.
    """

    def __init__(self, tmp: str, remove: Callable[[str], None] | None = None, taken: str | None = None) -> None:
        self._tmp = tmp
        self._remove = remove
        self._taken = taken
        self._fd = -1
        self.path = ""

    def __enter__(self) -> str:
        try:
            os.makedirs(self._tmp, 0o700, exist_ok=True)
            self.path = self._make()
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            if self._taken is not None and isinstance(e, FileNotFoundError):
                raise
            raise explain(e, self._tmp) from e
        _try_lock(self._fd, fcntl.LOCK_SH)
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from fs import remove

        try:
            (self._remove or remove.tree)(self.path)
        except OSError:
            pass  # swept later; the block's own error, if any, matters more
        finally:
            os.close(self._fd)
        if isinstance(error, OSError) and error.errno in _DISK:
            raise explain(error, self._tmp) from error

    def _make(self) -> str:
        me = Maker.me()
        while True:
            path = f"{self._tmp}/{me.host}.{me.boot}.{me.pid}.{me.start}.{next(_numbers)}"
            try:
                if self._taken is None:
                    os.mkdir(path, 0o700)
                else:
                    os.rename(self._taken, path)
            except OSError as e:
                if e.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                continue
            return path


def new(tmp: str, remove: Callable[[str], None] | None = None) -> Staging:
    """Return a temporary directory to be used in ``with``; ``remove`` deletes a tree with files of other ids."""
    return Staging(tmp, remove)


def taking(path: str, tmp: str, remove: Callable[[str], None] | None = None) -> Staging:
    """Return the directory ``path`` as a temporary one, for ``with``: a removal that is complete at its beginning.

    Raises, at the beginning of the block:
        FileNotFoundError: it is gone already.
    """
    return Staging(tmp, remove, path)


def sweep(tmp: str, remove: Callable[[str], None]) -> tuple[str, ...]:
    """Remove what dead processes of this host left under ``tmp``; return the names.

    ``remove`` deletes a tree; an OSError of it leaves the tree for the next sweep.
    """
    try:
        names = os.listdir(tmp)
    except OSError:  # not there yet, or not ours to sweep
        return ()
    swept: list[str] = []
    for name in names:
        maker = Maker.of(name)
        path = f"{tmp}/{name}"
        if maker is None or maker.life() != Life.DEAD or _is_held(path):
            continue
        try:
            remove(path)
        except OSError:
            continue
        swept.append(name)
    return tuple(swept)


def _is_held(path: str) -> bool:
    """Tell whether a process has it: a child that outlived the maker, or a maker of another pid namespace."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(fd, fcntl.LOCK_EX)
    finally:
        os.close(fd)


def _try_lock(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without flock: the name alone has to do
        pass
    return True
