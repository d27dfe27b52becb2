"""Tell a person what went wrong: an error of ours, one of the system's, or a bug."""

from __future__ import annotations

import errno
import os
import sys

from rootless.cli.render import printable
from rootless.errors import RlError, StoreError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def show(error: RlError, end: str = "") -> None:
    """Print an error and its hint on stderr; control characters in either are escaped.

    ``end`` are the last lines of errors that do not bring their own.
    """
    # The screen may hold half a line of progress or output.
    flush()
    lines = [f"rl: {printable(error.message, keep_newlines=True)}"]
    if error.hint:
        lines.append(f"hint: {printable(error.hint, keep_newlines=True)}")
    last = getattr(error, "footer", end)
    if last:
        lines.append(f"\n{last}")
    say("\n".join(lines))


def say(text: str) -> None:
    """Print a line on stderr; a stderr that is closed or full is nobody to tell."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def flush() -> None:
    """Write out stdout; what cannot be written shows up again at the end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        pass


#: What the kernel says about a disk, with what helps; ``{0}`` is the path or "the store".
_DISK: Final = {
    errno.ENOSPC: "free some space or inodes there, or set RL_DATA to a directory on another file system",
    errno.EDQUOT: "free some of your quota, or set RL_DATA to a directory on another file system",
    errno.EROFS: "set RL_DATA to a directory on a writable file system",
    errno.EACCES: "see who owns it: ls -ld {0}; or set RL_DATA to a directory of your own",
    errno.EPERM: "see who owns it: ls -ld {0}; or set RL_DATA to a directory of your own",
    errno.EIO: "the disk or its connection is failing: see dmesg",
    errno.ESTALE: "the network file system was changed under us: try again, or set RL_DATA to a local disk",
    errno.EMFILE: "raise the limit on open files: ulimit -n 4096",
    errno.ENFILE: "the whole host has too many files open: see fs.file-max",
    errno.ENOMEM: "the host is out of memory",
    errno.EAGAIN: "the limit on processes may be reached: see ulimit -u",
    errno.ENAMETOOLONG: None,
    errno.ELOOP: None,
}


def from_os(error: OSError) -> StoreError | None:
    """Return what an OSError that nobody explained means to the user, or None where it must be a bug."""
    if error.errno not in _DISK:
        return None
    where = error.filename if isinstance(error.filename, (str, bytes)) else ""
    path = os.fsdecode(where)
    hint = _DISK[error.errno]
    reason = os.strerror(error.errno).lower()
    return StoreError(f"{path!r}: {reason}" if path else reason, hint=hint.format(path or "PATH") if hint else None)


def traceback_of(error: BaseException) -> str:
    """Return the traceback as Python would print it."""
    from traceback import format_exception

    return "".join(format_exception(error))


def bug(error: BaseException, verb: str) -> None:
    """Say that rl has a bug, and keep the traceback where it can be found.

    The command line itself is not written down: it may hold a password.
    """
    from traceback import format_exception_only

    text = traceback_of(error)
    if os.environ.get("RL_DEBUG"):
        say(text)
    what = format_exception_only(error)[-1].strip()
    say(f"rl: this is a bug in rl: {what}")
    path = _keep(f"rl {verb} (Python {sys.version.split()[0]}, Linux {os.uname().release})\n\n{text}")
    kept = f"the traceback is in {path}; " if path else ""
    say(f"hint: {kept}RL_DEBUG=1 shows it here")


def _keep(text: str) -> str | None:
    from rootless import paths

    directories = paths.find()
    for directory in (directories.runtime, directories.data):
        try:
            paths.ensure_private(directory)
            path = f"{directory}/bug-{os.getpid()}.txt"
            with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return path
        except (OSError, RlError):
            continue
    return None
