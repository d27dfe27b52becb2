"""From create to rm: what each verb does, prints and leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support import users
from tests.support.box import Box


def test_create_prints_the_id_and_starts_nothing(box: Box) -> None:
    id_ = box.ok("create", "--network", "none", "busybox", "echo", "hi")
    assert len(id_) == 64
    assert box.state(id_) == "created"
    assert box.ok("ps", "-q") == ""
    assert box.ok("ps", "-aq") == id_[:12]
    assert "Created" in box.ok("ps", "-a")


def test_start_prints_the_name_as_typed(box: Box) -> None:
    id_ = box.ok("create", "--network", "none", "--name", "one", "busybox", "echo", "hi")
    assert box.ok("start", "one") == "one"
    assert box.ok("wait", id_[:8]) == "0"
    assert box.ok("logs", "one") == "hi"


def test_start_attached_gives_output_and_exit_code(box: Box) -> None:
    box.ok("create", "--network", "none", "--name", "one", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert box("start", "-a", "one") == (7, "out\n", "err\n")


def test_start_interactive_feeds_standard_input(box: Box) -> None:
    box.ok("create", "-i", "--network", "none", "--name", "one", "busybox", "cat")
    assert box("start", "-ai", "one", stdin="through").stdout == "through"


def test_an_exited_container_starts_again_with_its_files(box: Box) -> None:
    id_ = box.detached("busybox", "sh", "-c", "echo line >> /file; cat /file")
    box.ok("wait", id_)
    assert box.ok("start", "-a", id_) == "line\nline"
    assert box.ok("logs", id_) == "line\nline\nline"


def test_starting_what_runs_is_no_error(box: Box) -> None:
    id_ = box.asleep()
    assert box.ok("start", id_) == id_


def test_a_container_started_detached_returns_at_once_to_a_shell(box: Box) -> None:
    """``x=$(rl run -d …)`` waits until the last holder of the pipe is gone: the monitor must not be one."""
    id_ = box.asleep()
    assert box.state(id_) == "running"


def test_stop_is_gentle_first(box: Box) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 1000 & wait; done"
    id_ = box.detached("busybox", "sh", "-c", script)
    wait_for_log(box, id_, "up")
    assert box.ok("stop", id_) == id_
    assert box.inspect(id_)["State"]["ExitCode"] == 3
    assert box.ok("logs", id_) == "up\nbye"


def wait_for_log(box: Box, id_: str, text: str) -> None:
    follower = box.start("logs", "-f", id_)
    assert follower.stdout
    with follower:
        for line in follower.stdout:
            if text.encode() in line:
                break
        else:
            raise AssertionError(f"{text!r} was never printed")
        follower.kill()


def test_stop_kills_what_ignores_the_signal(box: Box) -> None:
    # Process 1 has no handler, so the kernel ignores SIGTERM for it.
    id_ = box.detached("busybox", "sleep", "1000")
    box.ok("stop", "-t", "0", id_)
    assert box.inspect(id_)["State"]["ExitCode"] == 137


def test_stop_sends_the_containers_own_signal(box: Box) -> None:
    script = "trap 'exit 9' USR1; echo up; while :; do sleep 1000 & wait; done"
    id_ = box.detached("--stop-signal", "USR1", "busybox", "sh", "-c", script)
    wait_for_log(box, id_, "up")
    box.ok("stop", id_)
    assert box.inspect(id_)["State"]["ExitCode"] == 9


def test_stopping_what_is_stopped_is_no_error(box: Box) -> None:
    id_ = box.detached("busybox", "true")
    box.ok("wait", id_)
    assert box.ok("stop", id_) == id_


@pytest.mark.parametrize("name", ["KILL", "SIGKILL", "kill", "9"])
def test_kill_takes_names_and_numbers(box: Box, name: str) -> None:
    id_ = box.detached("busybox", "sleep", "1000")
    assert box.ok("kill", "-s", name, id_) == id_
    assert box.inspect(id_)["State"]["ExitCode"] == 137


def test_kill_sends_other_signals(box: Box) -> None:
    script = "trap 'echo usr1' USR1; echo up; while :; do sleep 1000 & wait; done"
    id_ = box.detached("busybox", "sh", "-c", script)
    wait_for_log(box, id_, "up")
    box.ok("kill", "-s", "USR1", id_)
    wait_for_log(box, id_, "usr1")
    assert box.state(id_) == "running"


def test_kill_of_a_stopped_container_is_an_error(box: Box) -> None:
    id_ = box.detached("--name", "one", "busybox", "true")
    box.ok("wait", id_)
    result = box("kill", "one")
    assert result.code == 1
    assert f"cannot kill container: one: container {id_} is not running" in result.stderr


def test_an_unknown_signal_is_an_error(box: Box) -> None:
    result = box("kill", "-s", "NOPE", box.asleep())
    assert result.code == 1
    assert "invalid signal: NOPE" in result.stderr
    result = box.run("--stop-signal", "NOPE", "busybox", "true")
    assert result.code == 125
    assert "invalid signal: NOPE" in result.stderr


def test_real_time_signals_have_names_too(box: Box) -> None:
    id_ = box.asleep("--stop-signal", "SIGRTMIN+3")
    box.ok("kill", "-s", "RTMIN+3", id_)
    assert box.inspect(id_)["Config"]["StopSignal"] == "SIGRTMIN+3"


def test_wait_prints_the_exit_code_of_each(box: Box) -> None:
    ids = [box.detached("busybox", "sh", "-c", f"exit {code}") for code in (0, 3, 255)]
    assert box.ok("wait", *ids).split() == ["0", "3", "255"]


def test_wait_waits(box: Box) -> None:
    id_ = box.asleep()
    waiting = box.start("wait", id_)
    box.ok("kill", id_)
    out, _ = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (0, b"137\n")


def test_rm_refuses_a_running_container(box: Box) -> None:
    id_ = box.asleep("--name", "one")
    result = box("rm", "one")
    assert result.code == 1
    assert (
        'cannot remove container "one": container is running: stop the container before removing or force remove'
        in result.stderr
    )
    assert box.state(id_) == "running"


def test_rm_by_force_kills_it(box: Box) -> None:
    id_ = box.asleep()
    pid = box.inspect(id_)["State"]["Pid"]
    assert box.ok("rm", "-f", id_) == id_
    assert not os.path.exists(f"/proc/{pid}")
    assert box.left_over() == []


def test_rm_removes_files_of_other_ids_and_without_permissions(box: Box) -> None:
    id_ = box.detached("busybox", "sh", "-c", "mkdir -p /a/b; touch /a/b/c; chown -R 1000:1000 /a; chmod 0 /a/b /a")
    box.ok("wait", id_)
    assert box.ok("rm", id_) == id_
    assert box.left_over() == []


def test_rm_of_several_goes_on_after_an_error(box: Box) -> None:
    id_ = box.detached("busybox", "true")
    box.ok("wait", id_)
    result = box("rm", "nosuch", id_)
    assert (result.code, result.stdout) == (1, f"{id_}\n")
    assert "No such container: nosuch" in result.stderr


def test_rm_by_force_of_nothing_is_no_error(box: Box) -> None:
    result = box("rm", "-f", "nosuch")
    assert result.code == 0
    assert "No such container: nosuch" in result.stderr


def test_run_rm_leaves_nothing(box: Box) -> None:
    box.out("busybox", "sh", "-c", "mkdir /a; chmod 0 /a")
    assert box.left_over() == []


def test_run_rm_detached_is_removed_at_its_end(box: Box) -> None:
    id_ = box.asleep("--rm")
    box.ok("stop", id_)
    box("wait", id_)
    assert box.left_over() == []


def test_ps_shows_running_containers_newest_first(box: Box) -> None:
    first, second = box.asleep("--name", "first"), box.asleep("--name", "second")
    gone = box.detached("busybox", "true")
    box.ok("wait", gone)
    assert box.ok("ps", "-q").split() == [second[:12], first[:12]]
    assert box.ok("ps", "-aq").split() == [gone[:12], second[:12], first[:12]]
    lines = box.ok("ps", "-a").splitlines()
    assert lines[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert "Exited (0)" in lines[1]
    assert "Up " in lines[2]
    assert '"sh -c \'trap exit TE…"' in lines[2]


def test_containers_are_found_by_id_name_and_beginning(box: Box) -> None:
    id_ = box.asleep("--name", "web")
    for word in (id_, id_[:12], id_[:3], "web", "/web"):
        assert box.inspect(word)["Id"] == id_


def test_a_name_wins_over_the_beginning_of_an_id(box: Box) -> None:
    first = box.detached("busybox", "true")
    second = box.detached("--name", first[:4], "busybox", "true")
    assert box.inspect(first[:4])["Id"] == second


def test_an_ambiguous_beginning_is_an_error(box: Box) -> None:
    ids = []
    while not (twice := {digit for digit in "0123456789abcdef" if sum(i[0] == digit for i in ids) > 1}):
        ids.append(box.ok("create", "--network", "none", "busybox", "true"))
    result = box("stop", twice.pop())
    assert result.code == 1
    assert "multiple IDs found with provided prefix" in result.stderr


def test_a_name_is_free_again_after_rm(box: Box) -> None:
    box.out("--name", "one", "busybox", "true")
    box.out("--name", "one", "busybox", "true")
    assert box.left_over() == []


def test_the_end_of_a_monitor_is_the_end_of_its_container(box: Box) -> None:
    id_ = box.detached("--name", "one", "busybox", "sh", "-c", "echo kept > /file; sleep 1000")
    found = box.inspect(id_)
    pid = os.pidfd_open(found["State"]["Pid"])
    users.kill(found["Rl"]["Monitor"], 0)
    assert_ends(pid)
    shown = box.inspect(id_)["State"]
    assert (shown["Status"], shown["ExitCode"], shown["Error"]) == ("exited", 137, "monitor lost")
    assert "Exited (137)" in box.ok("ps", "-a")
    assert box.ok("wait", id_) == "137"
    assert box.ok("stop", id_) == id_
    box.ok("start", id_)
    assert box.ok("exec", id_, "cat", "/file") == "kept"
    box.ok("rm", "-f", id_)
    assert box.left_over() == []


def assert_ends(pidfd: int) -> None:
    import select

    try:
        assert select.select([pidfd], [], [], 20)[0], "the process still runs"
    finally:
        os.close(pidfd)


def test_a_holder_that_is_killed_takes_nothing_with_it(box: Box) -> None:
    import glob
    import json

    id_ = box.asleep()
    for path in glob.glob(f"{box.home.runtime}/holder-*.json"):
        with open(path) as file:
            record = json.load(file)
        os.kill(record["pid"], signal.SIGKILL)
    assert box.ok("exec", id_, "echo", "still here") == "still here"
    assert box.out("busybox", "echo", "and new ones") == "and new ones"
    box.ok("rm", "-f", id_)


def test_inspect_of_an_unknown_container(box: Box) -> None:
    result = box("inspect", "nosuch")
    assert (result.code, result.stdout) == (1, "[]\n")
    assert "No such object: nosuch" in result.stderr


def test_the_times_of_a_container_are_in_order(box: Box) -> None:
    id_ = box.detached("busybox", "true")
    box.ok("wait", id_)
    found = box.inspect(id_)
    assert found["Created"] < found["State"]["StartedAt"] < found["State"]["FinishedAt"]


def test_start_of_several_goes_on_after_an_error(box: Box) -> None:
    ids = [box.ok("create", "--network", "none", "busybox", "true") for _ in range(2)]
    result = box("start", ids[0], "nosuch", ids[1])
    assert (result.code, result.stdout.split()) == (1, ids)
    assert "No such container: nosuch" in result.stderr
    assert "failed to start containers: nosuch" in result.stderr
    assert box.ok("wait", *ids).split() == ["0", "0"]


def test_a_start_that_fails_says_why_and_can_be_tried_again(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir(mode=0o777)
    id_ = box.ok("create", "--network", "none", "-v", f"{source}:/there", "busybox", "true")
    source.rmdir()
    result = box("start", id_)
    assert result.code == 1
    assert f"bind source path does not exist: {source}" in result.stderr
    assert box.state(id_) == "created"
    source.mkdir()
    assert box.ok("start", id_) == id_
    assert box.ok("wait", id_) == "0"


def test_stop_gives_the_time_that_was_asked_for(box: Box) -> None:
    script = "trap 'echo told' TERM; echo up; while :; do sleep 1000 & wait; done"
    id_ = box.detached("busybox", "sh", "-c", script)
    wait_for_log(box, id_, "up")
    box.ok("stop", "-t", "1", id_)
    assert box.inspect(id_)["State"]["ExitCode"] == 137
    assert box.ok("logs", id_) == "up\ntold"


def test_what_is_changed_at_creation_is_kept_for_start(box: Box) -> None:
    id_ = box.ok(
        "create",
        "--network",
        "none",
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "-u",
        "app",
        "busybox",
        "sh",
        "-c",
        "echo $A; pwd; id -un",
    )
    assert box.ok("start", "-a", id_).split() == ["1", "/tmp", "app"]
    assert box.ok("start", "-a", id_).split() == ["1", "/tmp", "app"]


def test_removing_while_it_starts_is_one_or_the_other(box: Box) -> None:
    for _ in range(3):
        id_ = box.ok("create", "--network", "none", "busybox", "true")
        starting, removing = box.start("start", id_), box.start("rm", "-f", id_)
        for process in (starting, removing):
            _, err = process.communicate(timeout=20)
            assert b"Traceback" not in err
            assert b"bug in rl" not in err


def test_a_container_whose_monitor_was_stopped_can_be_removed(box: Box) -> None:
    id_ = box.asleep()
    os.kill(box.inspect(id_)["Rl"]["Monitor"], signal.SIGSTOP)
    assert box.ok("rm", "-f", id_) == id_
    assert box.ok("ps", "-aq") == ""
