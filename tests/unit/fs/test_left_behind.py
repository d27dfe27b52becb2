"""What a removal takes away at once, and what is swept of killed processes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fs import flock, staging, trouble
from fs.flock import Lock
from rootless.errors import StoreError


def test_what_is_taken_vanishes_at_once_and_then_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "container").mkdir()
    (tmp_path / "container/file").touch()
    with staging.taking(str(tmp_path / "container"), str(tmp_path / "tmp")) as where:
        assert not (tmp_path / "container").exists()
        assert os.listdir(where) == ["file"]
        assert staging.Maker.of(os.path.basename(where)) == staging.Maker.me()
    assert os.listdir(tmp_path / "tmp") == []


def test_what_another_has_taken_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staging.taking(str(tmp_path / "container"), str(tmp_path / "tmp")):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_fails_while_something_is_staged_is_explained(tmp_path: Path, number: int) -> None:
    with pytest.raises(StoreError) as caught, staging.new(str(tmp_path)):
        raise OSError(number, os.strerror(number))
    assert caught.value.hint
    assert trouble.is_full(caught.value) == (number != errno.EROFS)
    assert os.listdir(tmp_path) == []


def test_locks_of_killed_processes_are_swept_and_held_ones_stay(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    for name in ("store", "index", "sha256-left", "sha512-left"):
        (locks / name).touch()
    with Lock(f"{locks}/sha256-held", ephemeral=True):
        flock.sweep(str(tmp_path))
        assert sorted(os.listdir(locks)) == ["index", "sha256-held", "store"]
    assert sorted(os.listdir(locks)) == ["index", "store"]


def test_a_store_that_is_not_there_has_nothing_to_sweep(tmp_path: Path) -> None:
    flock.sweep(str(tmp_path / "nosuch"))
