"""Who a container's process is: -u and an image's USER against the container's passwd(5) and group(5)."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

#: Docker takes no greater ids from -u.
MAX_ID: Final = 0x7FFFFFFF


class PasswdEntry(NamedTuple):
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


class GroupEntry(NamedTuple):
    """A line of group(5)."""

    name: str
    gid: int
    members: tuple[str, ...]


class User(NamedTuple):
    """A resolved user; ``groups`` are the supplementary groups, the primary one first.

    ``name`` is "" where the container's passwd does not know the uid.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str = ""


class UnknownUser(UsageError):
    """The container has no such user or group."""


def parse_passwd(text: str) -> tuple[PasswdEntry, ...]:
    """Read passwd(5); lines without a name and two numbers are passed over."""
    entries = []
    for fields in _lines(text):
        if len(fields) >= 4 and fields[0] and (uid := _number(fields[2])) is not None:
            gid = _number(fields[3])
            if gid is not None:
                home, shell = (*fields[5:7], "", "")[:2]
                entries.append(PasswdEntry(fields[0], uid, gid, home, shell))
    return tuple(entries)


def parse_group(text: str) -> tuple[GroupEntry, ...]:
    """Read group(5); lines without a name and a number are passed over."""
    entries = []
    for fields in _lines(text):
        if len(fields) >= 3 and fields[0] and (gid := _number(fields[2])) is not None:
            members = tuple(name for name in fields[3].split(",") if name) if len(fields) > 3 else ()
            entries.append(GroupEntry(fields[0], gid, members))
    return tuple(entries)


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped.split(":")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def resolve(spec: str, passwd: str, group: str) -> User:
    """Resolve ``""``, ``name``, ``uid``, ``name:group``, ``uid:gid`` and mixes of them.

    ``passwd`` and ``group`` are the texts of the container's files, "" where it has none. A number
    need not be in them. An explicit group leaves no supplementary ones but itself.

    Raises:
        UnknownUser: a name is in neither file.
        UsageError: a number is out of range.
    """
    wanted, _, wanted_group = spec.partition(":")
    entry = _find_user(wanted, parse_passwd(passwd))
    uid, gid, home, name = (entry.uid, entry.gid, entry.home, entry.name) if entry else (0, 0, "", "")
    if entry is None and wanted:
        number = _id(wanted)
        if number is None:
            raise UnknownUser(
                f"unable to find user {wanted}: no matching entries in passwd file",
                hint="use a number, or a user that the image has",
            )
        uid = number
    others: tuple[int, ...] = ()
    if wanted_group:
        gid = _find_group(wanted_group, parse_group(group))
    elif name:
        others = tuple(g.gid for g in parse_group(group) if name in g.members)
    return User(uid, gid, tuple(dict.fromkeys((gid, *others))), home or "/", name)


def _find_user(wanted: str, entries: tuple[PasswdEntry, ...]) -> PasswdEntry | None:
    number = 0 if not wanted else _number(wanted)
    for entry in entries:
        if entry.name == wanted or entry.uid == number:
            return entry
    return None


def _find_group(wanted: str, entries: tuple[GroupEntry, ...]) -> int:
    number = _number(wanted)
    for entry in entries:
        if entry.name == wanted or entry.gid == number:
            return entry.gid
    gid = _id(wanted)
    if gid is None:
        raise UnknownUser(
            f"unable to find group {wanted}: no matching entries in group file",
            hint="use a number, or a group that the image has",
        )
    return gid


def _id(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if digits != text or int(digits) > MAX_ID:
        raise UsageError(f"uids and gids must be in range 0-{MAX_ID}")
    return int(digits)


class Added(NamedTuple):
    """Lines to append to the container's passwd and group, each "" or ending in a newline."""

    passwd: str
    group: str


def keep_id_lines(passwd: str, group: str, *, name: str, uid: int, gid: int, home: str, shell: str) -> Added:
    """Make the lines by which the container knows the caller under --userns=keep-id.

    Ids that the image has names for keep them; a name that the image uses for another id is
    not given twice.
    """
    users, groups = parse_passwd(passwd), parse_group(group)
    user_line = group_line = ""
    if all(entry.uid != uid for entry in users):
        user_name = _free(name, f"user{uid}", {entry.name for entry in users})
        user_line = f"{_ended(passwd)}{user_name}:*:{uid}:{gid}:{user_name}:{home or '/'}:{shell or '/bin/sh'}\n"
    if all(entry.gid != gid for entry in groups):
        group_name = _free(name, f"group{gid}", {entry.name for entry in groups})
        group_line = f"{_ended(group)}{group_name}:*:{gid}:\n"
    return Added(user_line, group_line)


def _free(name: str, otherwise: str, taken: set[str]) -> str:
    fits = name and name not in taken and not set(name) & set(":\n,")
    return name if fits else otherwise


def _ended(text: str) -> str:
    """Return the newline that ``text`` lacks at its end."""
    return "\n" if text and not text.endswith("\n") else ""
