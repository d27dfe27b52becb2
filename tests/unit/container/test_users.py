"""-u against passwd and group as Docker resolves it, and the lines that keep-id adds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.container import users
from rootless.container.users import User
from rootless.errors import UsageError

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
# a comment
ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash
homeless:x:1001:1001
broken:x:no:1
www-data:x:33:33:www-data:/var/www:/bin/sh
12:x:2000:2000::/home/12:
"""
GROUP = """root:x:0:root
daemon:x:1:
audio:x:29:ann,www-data
video:x:44:ann
ann:x:1000:
www-data:x:33:
broken:x
"""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", User(0, 0, (0,), "/root", "root")),
        ("root", User(0, 0, (0,), "/root", "root")),
        ("0", User(0, 0, (0,), "/root", "root")),
        ("ann", User(1000, 1000, (1000, 29, 44), "/home/ann", "ann")),
        ("1000", User(1000, 1000, (1000, 29, 44), "/home/ann", "ann")),
        ("ann:video", User(1000, 44, (44,), "/home/ann", "ann")),
        ("ann:33", User(1000, 33, (33,), "/home/ann", "ann")),
        ("ann:4711", User(1000, 4711, (4711,), "/home/ann", "ann")),
        ("ann:", User(1000, 1000, (1000, 29, 44), "/home/ann", "ann")),
        (":audio", User(0, 29, (29,), "/root", "root")),
        ("4711", User(4711, 0, (0,), "/")),
        ("4711:815", User(4711, 815, (815,), "/")),
        ("4711:audio", User(4711, 29, (29,), "/")),
        ("homeless", User(1001, 1001, (1001,), "/", "homeless")),
        ("12", User(2000, 2000, (2000,), "/home/12", "12")),
        ("2147483647", User(2147483647, 0, (0,), "/")),
    ],
)
def test_users_are_resolved(spec: str, expected: User) -> None:
    assert users.resolve(spec, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("", User(0, 0, (0,), "/")), ("5", User(5, 0, (0,), "/")), ("5:6", User(5, 6, (6,), "/"))],
)
def test_an_image_without_passwd_has_numbers_only(spec: str, expected: User) -> None:
    assert users.resolve(spec, "", "") == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bob", "unable to find user bob: no matching entries in passwd file"),
        ("broken", "unable to find user broken: no matching entries in passwd file"),
        ("ann:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("ann:broken", "unable to find group broken: no matching entries in group file"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("ann:99999999999999", "uids and gids must be in range 0-2147483647"),
        ("²", "unable to find user ²: no matching entries in passwd file"),
    ],
)
def test_unknown_users_are_refused_as_docker_does(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        users.resolve(spec, PASSWD, GROUP)
    assert error.value.message == message
    assert error.value.exit_code == 125


@settings(deadline=None, database=None)
@given(st.text(), st.text(), st.text())
def test_no_passwd_of_an_image_breaks_the_resolver(spec: str, passwd: str, group: str) -> None:
    try:
        user = users.resolve(spec, passwd, group)
    except UsageError:
        return
    assert user.groups[0] == user.gid
    assert user.home


def added(uid: int, gid: int, name: str = "me", passwd: str = PASSWD, group: str = GROUP) -> users.Added:
    return users.keep_id_lines(passwd, group, name=name, uid=uid, gid=gid, home="/work", shell="/bin/bash")


def test_keep_id_names_the_caller() -> None:
    lines = added(4711, 4712)
    assert lines == users.Added("me:*:4711:4712:me:/work:/bin/bash\n", "me:*:4712:\n")
    user = users.resolve("me", PASSWD + lines.passwd, GROUP + lines.group)
    assert user == User(4711, 4712, (4712,), "/work", "me")


def test_keep_id_leaves_ids_that_the_image_has_names_for() -> None:
    assert added(1000, 1000) == users.Added("", "")
    assert added(1000, 5).group == "me:*:5:\n"


def test_keep_id_does_not_give_a_name_twice() -> None:
    lines = added(4711, 4712, name="ann")
    assert lines.passwd.startswith("user4711:*:4711:4712:")
    assert lines.group == "group4712:*:4712:\n"


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "a,b"])
def test_keep_id_writes_no_name_that_breaks_the_file(name: str) -> None:
    assert added(4711, 4712, name=name).passwd.startswith("user4711:")


def test_keep_id_ends_a_last_line_that_has_no_newline() -> None:
    lines = added(5, 5, passwd="root:x:0:0::/:/bin/sh", group="root:x:0:")
    assert lines.passwd == "\nme:*:5:5:me:/work:/bin/bash\n"
    assert lines.group == "\nme:*:5:\n"
    assert added(5, 5, passwd="", group="").passwd == "me:*:5:5:me:/work:/bin/bash\n"
