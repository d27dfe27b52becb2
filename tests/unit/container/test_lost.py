"""Names and states that killed processes left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from rootless.container import state, store
from rootless.container.state import ContainerState
from rootless.linux import pidfd
from rootless.paths import Paths

GONE = 1 << 22  # no pid is as high (proc(5), pid_max)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(str(tmp_path), str(tmp_path / "r"), str(tmp_path / "c"))
    os.makedirs(made.names)
    os.makedirs(f"{made.containers}/{'a' * 64}")
    return made


def test_names_of_killed_takers_are_swept(paths: Paths) -> None:
    me = os.getpid()
    os.symlink(f"{'a' * 64}.{GONE}.1", f"{paths.names}/published")
    os.symlink(f"{'b' * 64}.{me}.{pidfd.start_time(me)}", f"{paths.names}/being-made")
    os.symlink(f"{'c' * 64}.{GONE}.1", f"{paths.names}/left")
    os.symlink(f"{'d' * 64}.{me}.1", f"{paths.names}/left-by-another-of-this-pid")
    store.sweep(paths)
    assert sorted(os.listdir(paths.names)) == ["being-made", "published"]


def test_a_process_that_outlived_its_monitor_is_ended(tmp_path: Path) -> None:
    """The monitor is gone; the process is ours, and would have gone on for ever."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    lost = ContainerState(
        status=state.RUNNING,
        pid=pid,
        pid_start=pidfd.start_time(pid),
        monitor=GONE,
        monitor_start=1,
        host=os.uname().nodename,
        boot=pidfd.boot_id(),
    )
    state.save(str(tmp_path), lost)
    found = state.current(str(tmp_path))
    assert (found.status, found.exit_code, found.error, found.pid) == (state.EXITED, 137, "monitor lost", 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_the_process_of_that_number_is_left_alone_if_it_is_another(tmp_path: Path) -> None:
    lost = ContainerState(
        status=state.RUNNING, pid=os.getpid(), pid_start=1, monitor=GONE, monitor_start=1, boot=pidfd.boot_id()
    )
    state.save(str(tmp_path), lost)
    assert state.current(str(tmp_path)).status == state.EXITED


@pytest.mark.parametrize(
    ("host", "boot", "elsewhere"),
    [("here", "here", False), ("renamed", "here", False), ("here", "earlier", False), ("other", "other", True)],
)
def test_a_host_is_known_by_its_name_or_its_boot(host: str, boot: str, elsewhere: bool) -> None:
    running = ContainerState(
        status=state.RUNNING,
        host=os.uname().nodename if host == "here" else host,
        boot=pidfd.boot_id() if boot == "here" else boot,
    )
    assert running.is_elsewhere() == elsewhere
