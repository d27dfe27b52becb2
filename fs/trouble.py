"""What an OSError met while writing the store means: the disk is full, read-only, or not ours."""

from __future__ import annotations

import errno
import os

from rootless.errors import StoreError

_ELSEWHERE = "set RL_DATA to a directory on another file system"


class writing:  # noqa: N801  used as a word: ``with writing(path):``
    """Turn an OSError in the block into a StoreError; ``path`` is the part of the store that is written."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise explain(error, self._path) from error


def is_full(error: BaseException | None) -> bool:
    """Tell whether a disk or quota that is used up is the reason of ``error``, or of what caused it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def explain(error: OSError, path: str) -> StoreError:
    """Say what ``error`` means for the store at ``path``, and what to type next."""
    number = error.errno
    where = _existing(path)
    if number == errno.ENOSPC:
        return StoreError(_full(where), hint=f"free some space: rl rmi IMAGE; df -h {where}; or {_ELSEWHERE}")
    if number == errno.EDQUOT:
        return StoreError(f"your disk quota at {where!r} is used up", hint=f"look at it: quota -s; or {_ELSEWHERE}")
    if number == errno.EROFS:
        return StoreError(f"{where!r} is on a read-only file system", hint=_ELSEWHERE)
    if number in (errno.EACCES, errno.EPERM):
        return StoreError(
            f"no permission to write {_name(error, path)!r}{_owner(where)}", hint=f"look at it: ls -ld {where}"
        )
    if number == errno.EIO:
        return StoreError(f"the disk under {where!r} has failed to read or write", hint="look for the cause: dmesg")
    if number == errno.ESTALE:
        return StoreError(f"the network file system at {where!r} has lost the file", hint="run the command again")
    if number in (errno.EMFILE, errno.ENFILE):
        return StoreError("too many open files", hint="raise the limit: ulimit -n 4096")
    return StoreError(f"cannot write {_name(error, path)!r}: {error.strerror or error}")


def _name(error: OSError, path: str) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, (str, bytes)) and os.path.isabs(name) else path


def _existing(path: str) -> str:
    while path not in ("", "/") and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path or "/"


def _full(where: str) -> str:
    try:
        status = os.statvfs(where)
    except OSError:
        return f"no space is left on the file system of {where!r}"
    if status.f_files and not status.f_favail and status.f_bavail:
        return f"the file system of {where!r} has no inodes left: it holds too many files"
    return f"no space is left on the file system of {where!r} ({status.f_bavail * status.f_frsize >> 20} MiB free)"


def _owner(where: str) -> str:
    try:
        uid = os.lstat(where).st_uid
    except OSError:
        return ""
    return f": {where!r} belongs to uid {uid}" if uid != os.geteuid() else ""
