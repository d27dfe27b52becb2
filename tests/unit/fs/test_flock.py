"""Locks between processes: who excludes whom, and that nothing is left of a dead holder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fs import flock
from fs.flock import Busy, Lock
from rootless.errors import StoreError


class Other:
    """Another process that holds a lock until it is told to let go."""

    def __init__(self, make: Callable[[], Lock]) -> None:
        ready, tell = os.pipe()
        wait, self._release = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._release)
                with make():
                    os.write(tell, b".")
                    os.read(wait, 1)
            finally:
                os._exit(0)
        os.close(tell)
        os.close(wait)
        assert os.read(ready, 1) == b"."
        os.close(ready)

    def release(self) -> None:
        os.close(self._release)
        os.waitpid(self.pid, 0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.release()


def is_free(path: str, *, shared: bool = False) -> bool:
    try:
        with Lock(path, shared=shared, wait=False):
            return True
    except Busy:
        return False


def test_an_exclusive_lock_excludes_everybody(tmp_path: Path) -> None:
    """Until it is released."""
    path = f"{tmp_path}/locks/name"
    other = Other(lambda: Lock(path))
    assert not is_free(path)
    assert not is_free(path, shared=True)
    other.release()
    assert is_free(path)


def test_shared_locks_exclude_only_exclusive_ones(tmp_path: Path) -> None:
    """Any number of users; whoever removes waits for all."""
    other = Other(lambda: flock.store(str(tmp_path)))
    with flock.store(str(tmp_path), wait=False):
        pass
    with pytest.raises(Busy), flock.store(str(tmp_path), exclusive=True, wait=False):
        pass
    other.release()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    """The kernel releases it (flock(2))."""
    path = f"{tmp_path}/name"
    Other(lambda: Lock(path)).kill()
    assert is_free(path)


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """It has the same open file; to release means to unlock, not only to close."""
    path = f"{tmp_path}/name"
    wait, release = os.pipe()
    with Lock(path):
        pid = os.fork()
        if pid == 0:
            os.close(release)
            os.read(wait, 1)
            os._exit(0)
    assert is_free(path)
    os.close(release)
    os.waitpid(pid, 0)
    os.close(wait)


def test_an_ephemeral_lock_leaves_no_file(tmp_path: Path) -> None:
    """There would be one for every digest."""
    with Lock(f"{tmp_path}/locks/name", ephemeral=True):
        assert os.listdir(f"{tmp_path}/locks") == ["name"]
    assert os.listdir(f"{tmp_path}/locks") == []


def test_an_ephemeral_lock_excludes_although_its_file_vanishes(tmp_path: Path) -> None:
    """Eight processes count to 400 together, each step under a lock whose file is new every time."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for _ in range(50):
                    with Lock(f"{tmp_path}/locks/name", ephemeral=True):
                        counter.write_text(str(int(counter.read_text()) + 1))
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    assert counter.read_text() == "400"


class Locker:
    """A flock(2) of a file system that has none, but only under ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.real = fcntl.flock

    def __call__(self, fd: int, operation: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").startswith(self.path):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        self.real(fd, operation)


def test_without_flock_the_processes_of_this_host_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS without lockd: the lock is in the runtime directory then."""
    (tmp_path / "nfs").mkdir()
    monkeypatch.setattr(fcntl, "flock", Locker(tmp_path / "nfs"))
    monkeypatch.setenv("RL_RUNTIME", f"{tmp_path}/run")
    path = f"{tmp_path}/nfs/name"
    other = Other(lambda: Lock(path))
    assert not is_free(path)
    other.release()
    assert is_free(path)
    assert len(os.listdir(f"{tmp_path}/run/locks")) == 1


def test_a_lock_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "locks").touch()
    with pytest.raises(StoreError, match="locks"), Lock(f"{tmp_path}/locks/name"):
        pass
