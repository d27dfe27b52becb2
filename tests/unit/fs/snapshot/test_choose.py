"""Choosing the storage driver: what is asked for, what was found, and why."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from fs.snapshot import choose, trial
from fs.snapshot.trial import Failure
from rootless.errors import HostUnsupported, UsageError
from rootless.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Give a store's directories."""
    (tmp_path / "data").mkdir()
    return Paths(f"{tmp_path}/data", f"{tmp_path}/run", f"{tmp_path}/config")


def forget_kernel(paths: Paths) -> None:
    path = Path(paths.runtime, "storage.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "another boot"}))


def fail() -> None:
    raise PermissionError(errno.EPERM, "no namespaces")


def test_the_copy_can_be_asked_for(paths: Paths) -> None:
    """Without a trial; by podman's name too."""
    assert choose.choose(paths, "plain", enter=fail).driver == "plain"
    assert choose.choose(paths, "vfs", enter=fail).driver == "plain"
    assert not os.path.exists(paths.tmp)


def test_an_unknown_driver_is_a_usage_error(paths: Paths) -> None:
    """With the known ones."""
    with pytest.raises(UsageError) as caught:
        choose.choose(paths, "zfs")
    assert "overlay" in str(caught.value.hint)


def test_where_overlay_fails_the_copy_is_chosen_with_the_reason(paths: Paths) -> None:
    """And to insist on overlay is an error that has it too."""
    choice = choose.choose(paths, enter=fail)
    assert choice == ("plain", "no namespace could be made for a trial (EPERM)")
    with pytest.raises(HostUnsupported, match="no namespace"):
        choose.choose(paths, "overlay", enter=fail)
    assert os.listdir(paths.tmp) == []


@pytest.mark.namespaces
@pytest.mark.usefixtures("namespaces")
def test_a_trial_happens_once_until_something_changes(paths: Paths) -> None:
    """The answer is kept with the boot, the kernel and the file system that it is for."""
    first = choose.choose(paths)
    assert choose.choose(paths, enter=fail) == first
    forget_kernel(paths)
    assert choose.choose(paths, enter=fail).driver == "plain"


def test_a_runtime_directory_that_cannot_be_written_only_costs_time(paths: Paths) -> None:
    """The choice is made again."""
    Path(paths.runtime).touch()
    assert choose.choose(paths, enter=fail).driver == "plain"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": 1}'])
def test_a_damaged_note_is_no_note(paths: Paths, text: str) -> None:
    """It is written anew."""
    os.mkdir(paths.runtime)
    Path(paths.runtime, "storage.json").write_text(text)
    assert choose.choose(paths, enter=fail).driver == "plain"
    assert json.loads(Path(paths.runtime, "storage.json").read_text())["driver"] == "plain"


@pytest.mark.parametrize(
    ("failure", "kind", "release", "said"),
    [
        (Failure("mount", errno.EINVAL), "overlay", "6.1.0", "on overlay"),
        (Failure("mount", errno.EINVAL), "nfs", "6.1.0", "on nfs"),
        (Failure("layers", errno.EOPNOTSUPP), "tmpfs", "6.1.0-18-amd64", "user.* attributes"),
        (Failure("mount", errno.EPERM), "ext4", "5.4.0-100-generic", "5.11 does"),
        (Failure("mount", errno.EPERM), "ext4", "6.1.0", "forbidden"),
        (Failure("mount", errno.ENODEV), "ext4", "6.1.0", "no overlayfs"),
        (Failure("hides", 0), "xfs", "6.1.0", "ignores opaque"),
        (Failure("removes", errno.EPERM), "ext4", "6.1.0", "removes (EPERM)"),
        (Failure("namespace", errno.ENOSPC), "ext4", "6.1.0", "ENOSPC"),
    ],
    ids=str,
)
def test_the_reason_is_one_line(failure: Failure, kind: str, release: str, said: str) -> None:
    """For rl info and -v."""
    reason = trial.explain(failure, kind, release)
    assert said in reason
    assert "\n" not in reason


def test_a_driver_is_loaded_by_its_name() -> None:
    """As a container's record has it."""
    assert choose.load("overlay").name == "overlay"
    assert choose.load("plain").name == "plain"
    with pytest.raises(HostUnsupported):
        choose.load("btrfs")
