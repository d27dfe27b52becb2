"""Temporary directories: whose they are is in the name, and what the dead left is swept."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from fs import staging
from fs.staging import Life, Maker
from rootless.errors import StoreError
from rootless.linux import pidfd


def test_a_staging_directory_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    """With all that is in it."""
    with staging.new(f"{tmp_path}/tmp") as path:
        assert os.stat(path).st_mode & 0o777 == 0o700
        os.makedirs(f"{path}/a/b")
        (Path(path) / "a/b/file").touch()
    assert os.listdir(f"{tmp_path}/tmp") == []


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    """And the error goes on."""
    with pytest.raises(ZeroDivisionError), staging.new(str(tmp_path)):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_the_name_says_who_made_it(tmp_path: Path) -> None:
    """Two of one process differ in the last part."""
    with staging.new(str(tmp_path)) as one, staging.new(str(tmp_path)) as two:
        assert one != two
        for path in (one, two):
            assert Maker.of(os.path.basename(path)) == Maker.me()
    assert Maker.me().life() is Life.ALIVE


def test_a_host_name_may_have_dots() -> None:
    """The other parts have none."""
    assert Maker.of("node7.cluster.example.0123abcd.42.1000.0") == Maker("node7.cluster.example", "0123abcd", 42, 1000)


@pytest.mark.parametrize("name", ["", "x", "host.boot.1.2", "host.boot.x.2.3", "host.boot.1.2.", "h.b.١.2.3"], ids=repr)
def test_other_names_are_nobodys(name: str) -> None:
    """They are never swept."""
    assert Maker.of(name) is None


HERE, BOOT = os.uname().nodename, pidfd.boot_id()[:8]
PID, START = os.getpid(), pidfd.start_time(os.getpid())


@pytest.mark.parametrize(
    ("maker", "life"),
    [
        (Maker(HERE, BOOT, PID, START), Life.ALIVE),
        (Maker("renamed", BOOT, PID, START), Life.ALIVE),
        (Maker(HERE, BOOT, PID, START + 1), Life.DEAD),
        (Maker(HERE, BOOT, 4194304, 1), Life.DEAD),
        (Maker("renamed", BOOT, 4194304, 1), Life.DEAD),
        (Maker(HERE, "00000000", PID, START), Life.DEAD),
        (Maker("elsewhere", "00000000", PID, START), Life.ELSEWHERE),
    ],
    ids=[
        "itself",
        "a host that was renamed",
        "a pid that was used again",
        "ended",
        "ended before the host was renamed",
        "before this boot",
        "another host",
    ],
)
def test_a_maker_lives_ended_or_is_elsewhere(maker: Maker, life: str) -> None:
    """By boot id, pid and start time."""
    assert maker.life() is life


def test_only_what_the_dead_of_this_host_left_is_swept(tmp_path: Path) -> None:
    """The living, other hosts and strangers keep theirs."""
    dead = f"{HERE}.{BOOT}.4194304.1.0"
    keep = {f"elsewhere.00000000.{PID}.{START}.0", "notes.txt", f"{HERE}.{BOOT}.{PID}.{START}.9"}
    for name in (dead, *keep):
        (tmp_path / name / "inner").mkdir(parents=True)
    assert staging.sweep(str(tmp_path), shutil.rmtree) == (dead,)
    assert set(os.listdir(tmp_path)) == keep


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    """kill -9 in the middle."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with staging.new(str(tmp_path)) as path:
            (Path(path) / "half").touch()
            os.write(writer, b".")
            signal.pause()
        os._exit(0)
    os.read(reader, 1)
    assert staging.sweep(str(tmp_path), shutil.rmtree) == ()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(staging.sweep(str(tmp_path), shutil.rmtree)) == 1
    assert os.listdir(tmp_path) == []
    os.close(reader)
    os.close(writer)


def test_what_a_surviving_child_still_fills_is_not_swept(tmp_path: Path) -> None:
    """The maker was killed, its worker goes on for a moment: the directory's lock tells."""
    reader, writer = os.pipe()
    wait, release = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(release)
        with staging.new(str(tmp_path)):
            if os.fork() == 0:
                os.write(writer, b".")
                os.read(wait, 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writer)
    os.waitpid(pid, 0)
    assert os.read(reader, 1) == b"."
    assert staging.sweep(str(tmp_path), shutil.rmtree) == ()
    os.close(release)
    assert os.read(reader, 1) == b""  # the worker has ended
    assert len(staging.sweep(str(tmp_path), shutil.rmtree)) == 1
    os.close(reader)
    os.close(wait)


class Refusing:
    """Removing that fails for want of permission, as for files of other ids."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: str) -> None:
        self.asked.append(path)
        raise PermissionError(13, "no", path)


def test_what_cannot_be_removed_waits_for_the_next_sweep(tmp_path: Path) -> None:
    """Neither the end of the block nor a sweep fails over it."""
    refuse = Refusing()
    with staging.new(str(tmp_path), refuse) as path:
        pass
    assert refuse.asked == [path]
    dead = tmp_path / f"{HERE}.{BOOT}.4194304.1.0"
    dead.mkdir()
    assert staging.sweep(str(tmp_path), refuse) == ()
    assert dead.exists()


def test_there_may_be_nothing_to_sweep(tmp_path: Path) -> None:
    """The directory is made by the first who needs it."""
    assert staging.sweep(f"{tmp_path}/none", shutil.rmtree) == ()


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    """A StoreError, not an OSError."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError), staging.new(f"{tmp_path}/file/tmp"):
        pass
