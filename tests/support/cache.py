"""Where the tests keep what is slow to make: images, the registry's store, unpacked tools."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARED = "/var/cache/rl-test"


class Unavailable(Exception):
    """Something cannot be made here; the text says what is missing. Tests that need it are skipped."""


def own() -> str:
    """Return the directory the caller may write to: RL_TEST_CACHE, root's shared one, or one under the home."""
    given = os.environ.get("RL_TEST_CACHE")
    if given and (not os.path.isdir(given) or os.access(given, os.W_OK)):
        return given
    if os.getuid() == 0:
        return SHARED
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return f"{base}/rl-test"


def get(key: str, make: Callable[[str], None]) -> str:
    """Return the directory ``key``, found in the shared or the own cache, else made by ``make(staging directory)``.

    ``key`` names the recipe's version too. One process makes it; the others wait. It is renamed into place when whole.

    Raises:
        Unavailable: as ``make`` raised it, or the cache cannot be written.
    """
    for base in dict.fromkeys((own(), os.environ.get("RL_TEST_CACHE") or SHARED, SHARED)):
        if os.path.isdir(path := f"{base}/{key}"):
            return path
    try:
        with locked(f"{own()}/{key}.lock"):
            target = f"{own()}/{key}"
            if os.path.isdir(target):
                return target
            staging = tempfile.mkdtemp(prefix=f".{key}-", dir=own())
            try:
                os.chmod(staging, 0o755)
                make(staging)
                os.rename(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            return target
    except PermissionError as e:
        raise Unavailable(f"the cache of test images cannot be written: {e}") from e


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path`` (flock(2)), which is made with its directory."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
