"""``--userns``: who of the host is who in the container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.box import Box
from tests.support.users import Me


def test_keep_id_makes_the_caller_itself(box: Box, me: Me, needs_many_ids: None) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    assert box.out("--userns", "keep-id", "busybox", "id", "-u") == str(me.uid)
    assert box.out("--userns", "keep-id", "busybox", "id", "-un") == me.name
    assert box.out("--userns", "keep-id", "busybox", "sh", "-c", "echo $HOME; grep -c . /etc/passwd").split()[0] != ""


def test_keep_id_owns_its_files_in_a_bind(box: Box, me: Me, tmp_path: Path, needs_many_ids: None) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    options = ("--userns", "keep-id", "-v", f"{tmp_path}:/there")
    assert box.sh("touch /there/new; stat -c %u /there/new", *options) == str(me.uid)
    assert (tmp_path / "new").stat().st_uid == me.uid


def test_keep_id_can_be_another_number(box: Box, me: Me, tmp_path: Path, needs_many_ids: None) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    options = ("--userns", "keep-id:uid=1000,gid=1000", "-v", f"{tmp_path}:/there")
    assert box.sh("touch /there/new; id -u; id -g; id -un", *options).split() == ["1000", "1000", "app"]
    assert (tmp_path / "new").stat().st_uid == me.uid


def test_keep_id_can_still_be_root_by_u(box: Box, me: Me, needs_many_ids: None) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    assert box.out("--userns", "keep-id", "-u", "0", "busybox", "id", "-u") == "0"


def test_me_is_exactly_one_id(box: Box, me: Me, tmp_path: Path) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    printed = box.sh(
        "id -u; cat /proc/self/uid_map; touch /there/new", "--userns", "me", "-v", f"{tmp_path}:/there"
    ).split()
    assert printed[0] == printed[1]
    assert printed[3] == "1"
    assert (tmp_path / "new").stat().st_uid == me.uid


def test_me_takes_the_user_that_is_asked_for(box: Box, me: Me) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    assert box.out("--userns", "me", "-u", "app", "busybox", "id", "-un") == "app"


def test_me_needs_no_copy_of_what_another_map_unpacked(box: Box, me: Me) -> None:
    """All maps of one id share their layers."""
    if me.is_root:
        pytest.skip("needs an ordinary user")
    box.sh("true", "--userns", "me")
    before = set(os.listdir(f"{box.home.data}/layers"))
    box.sh("true", "--userns", "me", "-u", "app")
    box.sh("true", "--userns", "me", "-u", "33:33")
    assert set(os.listdir(f"{box.home.data}/layers")) == before


def test_host_as_root_shares_the_hosts_ids(box: Box, needs_root: None) -> None:
    lines = box.out("--userns", "host", "busybox", "cat", "/proc/self/uid_map").split()
    assert lines == Path("/proc/self/uid_map").read_text().split()
    assert box.out("--userns", "host", "busybox", "id", "-u") == "0"


def test_host_as_root_writes_roots_files(box: Box, needs_root: None, tmp_path: Path) -> None:
    box.sh("touch /there/new", "--userns", "host", "-v", f"{tmp_path}:/there")
    assert (tmp_path / "new").stat().st_uid == 0
    id_ = box.detached("--userns", "host", "busybox", "sleep", "1000")
    assert box.ok("exec", id_, "id", "-u") == "0"


def test_host_for_an_ordinary_user_is_the_usual_map(box: Box, me: Me) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    usual = box.out("busybox", "cat", "/proc/self/uid_map")
    assert box.out("--userns", "host", "busybox", "cat", "/proc/self/uid_map") == usual


@pytest.mark.parametrize("mode", ["nonsense", "keep-id:uid=x", "keep-id:nonsense=1"])
def test_a_mode_that_is_none_is_refused(box: Box, mode: str) -> None:
    result = box.run("--userns", mode, "busybox", "true")
    assert result.code == 125
    assert "userns" in result.stderr
    assert box.left_over() == []


def test_keep_id_without_ranges_says_what_is_missing(box: Box, needs_one_id: None, me: Me) -> None:
    result = box.run("--userns", "keep-id", "busybox", "id", "-u")
    # One id is enough to be oneself.
    assert (result.code, result.stdout) == (0, f"{me.uid}\n")


def test_the_map_is_remembered_for_start_exec_and_rm(box: Box, me: Me) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    id_ = box.detached("--userns", "me", "-u", "app", "busybox", "sh", "-c", "id -u; sleep 1000")
    assert box.ok("exec", id_, "id", "-u") == "1000"
    box.ok("kill", id_)
    box.ok("start", id_)
    assert box.ok("exec", id_, "id", "-u") == "1000"
    box.ok("rm", "-f", id_)
