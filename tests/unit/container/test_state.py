"""The state on disk, and whether it is still true."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootless.container import state as states
from rootless.container.state import ContainerState
from rootless.linux import pidfd


def mine(**changes: object) -> ContainerState:
    """A running container whose monitor is this process."""
    base = ContainerState(
        status=states.RUNNING,
        pid=1,
        monitor=os.getpid(),
        monitor_start=pidfd.start_time(os.getpid()),
        host=os.uname().nodename,
        boot=pidfd.boot_id(),
        notes=("a", "b"),
    )
    return base._replace(**changes)


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    states.save(str(tmp_path), mine())
    assert states.load(str(tmp_path)) == mine()
    assert os.listdir(tmp_path) == ["state.json"]


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"status": "exited", "exit_code": 3, "new": {"x": 1}}')
    assert states.load(str(tmp_path)) == ContainerState(status="exited", exit_code=3)


def test_as_long_as_its_monitor_lives_it_runs(tmp_path: Path) -> None:
    states.save(str(tmp_path), mine())
    assert states.current(str(tmp_path)).status == states.RUNNING


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"monitor_start": 1}, "monitor lost"),
        ({"monitor": 2**22 + 1}, "monitor lost"),
        ({"boot": "another"}, "the host was restarted"),
    ],
    ids=["another process has the pid", "no process has the pid", "rebooted"],
)
def test_without_its_monitor_it_ended_with_137(tmp_path: Path, changes: dict[str, object], error: str) -> None:
    states.save(str(tmp_path), mine(**changes))
    found = states.current(str(tmp_path))
    assert (found.status, found.exit_code, found.error, found.pid) == (states.EXITED, 137, error, 0)
    assert found.finished > 0


def test_what_another_host_runs_is_left_alone(tmp_path: Path) -> None:
    states.save(str(tmp_path), mine(host="elsewhere", boot="another", monitor_start=1))
    found = states.current(str(tmp_path))
    assert found.status == states.RUNNING
    assert found.is_elsewhere()
    assert not found.is_lost()


def test_a_host_that_was_renamed_is_still_this_one(tmp_path: Path) -> None:
    states.save(str(tmp_path), mine(host="elsewhere", monitor_start=1))
    assert states.current(str(tmp_path)).status == states.EXITED


def test_a_failed_write_leaves_the_old_state_and_no_rest(tmp_path: Path) -> None:
    states.save(str(tmp_path), mine())
    with pytest.raises(TypeError):
        states.save(str(tmp_path), mine(error=object()))
    assert states.load(str(tmp_path)) == mine()
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_container_that_is_being_removed_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        states.load(str(tmp_path))
