"""Who the container's processes are: inside, and to the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.box import Box
from tests.support.users import Me


def ids(line: str) -> tuple[int, int, set[int]]:
    """Read what id(1) prints."""
    numbers = dict(word.split("=") for word in line.split())
    first = [int(numbers[key].partition("(")[0]) for key in ("uid", "gid")]
    groups = {int(group.partition("(")[0]) for group in numbers.get("groups", "").split(",") if group}
    return first[0], first[1], groups


def test_the_command_is_root_without_groups_of_the_host(box: Box) -> None:
    # With one id setgroups(2) is denied, and the list is the caller's: empty, or its own group.
    assert box.out("busybox", "id") in ("uid=0(root) gid=0(root) groups=0(root)", "uid=0(root) gid=0(root)")


def test_root_of_the_container_is_the_caller_and_for_real_root_somebody_else(
    box: Box, me: Me, container_root: tuple[int, int]
) -> None:
    owner = os.stat(f"/proc/{box.inspect(box.asleep())['State']['Pid']}").st_uid
    assert owner == container_root[0]
    assert (owner == 0) is False
    assert me.is_root or owner == me.uid


def test_the_whole_range_is_mapped(box: Box, me: Me, needs_many_ids: None) -> None:
    lines = box.out("busybox", "cat", "/proc/self/uid_map").splitlines()
    mapped = sum(int(line.split()[2]) for line in lines)
    assert mapped >= 65536 if me.is_root else mapped == 1 + sum(part.length for part in me.subuids)


def test_a_user_without_ranges_maps_exactly_one_id(box: Box, needs_one_id: None) -> None:
    (line,) = box.out("busybox", "cat", "/proc/self/uid_map").splitlines()
    assert line.split()[::2] == ["0", "1"]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("app", (1000, 1000, {1000, 50})),
        ("1000", (1000, 1000, {1000, 50})),
        ("app:staff", (1000, 50, {50})),
        ("1000:33", (1000, 33, {33})),
        ("www-data", (33, 33, {33})),
        ("4242", (4242, 0, {0})),
        ("4242:4343", (4242, 4343, {4343})),
        ("0:50", (0, 50, {50})),
        ("nobody", (65534, 65534, {65534})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_users_and_groups_are_found_as_docker_finds_them(
    box: Box, needs_many_ids: None, user: str, expected: tuple[int, int, set[int]]
) -> None:
    uid, gid, groups = ids(box.out("-u", user, "busybox", "id"))
    assert (uid, gid) == expected[:2]
    assert groups | {gid} == expected[2] | {gid}


@pytest.mark.parametrize("user", ["app", "1000", "4242", "nobody"])
def test_with_one_id_the_user_is_that_id(box: Box, needs_one_id: None, user: str) -> None:
    """A program that insists on its own uid works on a host that has only one to give."""
    number = {"app": 1000, "nobody": 65534}.get(user) or int(user)
    assert ids(box.out("-u", user, "busybox", "id"))[0] == number


def test_su_to_another_user(box: Box, needs_many_ids: None) -> None:
    line = box.out("busybox", "su", "nobody", "-s", "/bin/sh", "-c", "id")
    assert ids(line)[:2] == (65534, 65534)


def test_su_to_a_user_that_does_not_exist_here_fails(box: Box, needs_one_id: None) -> None:
    result = box.run("busybox", "su", "nobody", "-s", "/bin/sh", "-c", "id")
    assert result.code != 0
    assert result.stderr != ""


def test_info_says_why_there_is_one_id_only(box: Box, needs_one_id: None) -> None:
    said = box.ok("info")
    assert "usermod --add-subuids" in said


def test_files_of_the_image_have_the_owners_it_says(box: Box, needs_many_ids: None) -> None:
    assert box.sh("stat -c %u:%g /home/app /var/www /etc/shadow").split() == ["1000:1000", "33:33", "0:42"]


def test_setuid_programs_and_owners_work_inside(box: Box, needs_many_ids: None) -> None:
    script = "touch /f; chown 33:50 /f; stat -c %u:%g:%a /f; chmod 4755 /f; stat -c %a /f"
    assert box.sh(script).split() == ["33:50:644", "4755"]


def test_files_in_a_bound_directory_belong_to_the_caller(
    box: Box, tmp_path: Path, container_root: tuple[int, int]
) -> None:
    tmp_path.chmod(0o777)
    box.sh("touch /there/new", "-v", f"{tmp_path}:/there")
    assert (tmp_path / "new").stat().st_uid == container_root[0]


def test_files_of_the_caller_are_roots_inside(box: Box, me: Me, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "mine").touch()
    owner = box.sh("stat -c %u /there/mine", "-v", f"{tmp_path}:/there")
    # Real root's own id is never mapped, so its files are nobody's inside.
    assert owner == ("65534" if me.is_root else "0")


def test_u_outside_of_the_map_is_refused_with_the_reason(box: Box) -> None:
    result = box.run("-u", "2000000", "busybox", "true")
    if result.code == 0:
        # With one id, that id is whoever is asked for.
        assert ids(box.out("-u", "2000000", "busybox", "id"))[0] == 2000000
        return
    assert result.code == 125
    assert "does not exist in this container's id map" in result.stderr
    assert "hint: " in result.stderr
    assert box.left_over() == []


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nosuchuser", "unable to find user nosuchuser: no matching entries in passwd file"),
        ("app:nosuchgroup", "unable to find group nosuchgroup: no matching entries in group file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("99999999999", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_an_unknown_user_is_refused(box: Box, user: str, message: str) -> None:
    result = box.run(f"--user={user}", "busybox", "true")
    assert result.code == 125
    assert message in result.stderr
    assert box.left_over() == []
