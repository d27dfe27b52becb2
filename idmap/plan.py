"""Decide the id maps of the holder and of each container from what the host offers."""

from __future__ import annotations

from idmap import subid
from idmap.ranges import LIMIT, IdMap, IdRange, UserMap
from idmap.subid import SubRange
from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

#: Ids that systemd sets apart for containers (systemd, UIDS-GIDS.md).
CONTAINER_FIRST: Final = 524288
CONTAINER_LAST: Final = 1879048191
#: Where useradd(8) starts to give out ranges (login.defs(5), SUB_UID_MIN).
SUB_FIRST: Final = 100000
SUB_LAST: Final = 600100000
#: With fewer ids than this, nobody (65534) does not exist in a container.
USUAL_COUNT: Final = 65536

FULL: Final = IdMap((IdRange(0, 0, LIMIT),))

# Who writes the holder's maps.
HELPERS: Final = "helpers"  # newuidmap and newgidmap
DIRECT: Final = "direct"  # the caller, who holds CAP_SETUID and CAP_SETGID
ONE: Final = "one"  # the caller, its own id only, after setgroups is denied


class HostIds(NamedTuple):
    """What the host offers to the calling user; read by ``idmap.detect``.

    ``newuidmap`` and ``newgidmap`` are paths, "" where the program is missing or has lost its
    set-user-ID bit. ``may_map``: the caller holds CAP_SETUID and CAP_SETGID. ``current`` maps the
    ids of the caller's user namespace to those of its parent. ``taken`` are all ranges that
    anybody was given.
    """

    user: str
    uid: int
    gid: int
    subuids: tuple[SubRange, ...] = ()
    subgids: tuple[SubRange, ...] = ()
    newuidmap: str = ""
    newgidmap: str = ""
    no_new_privs: bool = False
    may_map: bool = False
    current: UserMap = UserMap(FULL, FULL)
    taken: tuple[SubRange, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def initial(self) -> bool:
        """Whether the caller sees every id of the host, as in the initial user namespace."""
        return self.current.uids == FULL and self.current.gids == FULL


class Userns(NamedTuple):
    """A parsed ``--userns``; ``uid`` and ``gid`` are the container ids that the caller gets."""

    kind: str = "root"  # root, host, keep-id, me
    uid: int | None = None
    gid: int | None = None


#: What containers get where nothing was asked: the caller is root.
ROOT: Final = Userns()


class HolderPlan(NamedTuple):
    """The maps of the holder's user namespace: its ids to those of the caller's namespace.

    ``how`` is HELPERS, DIRECT or ONE. ``note`` says why it is not the usual way and what would lift that.
    """

    maps: UserMap
    how: str
    note: str | None = None

    @property
    def single(self) -> bool:
        """Whether there is one id only, so that owners are recorded instead of set."""
        return self.maps.uids.count == 1 and self.maps.gids.count == 1


class ContainerPlan(NamedTuple):
    """The ids of one container.

    ``maps``: container to holder, what is written to /proc/PID/uid_map. ``on_host``: container to
    the caller's namespace. ``user_namespace`` is False where real root asked for the host's, and then
    nothing is written and both maps are the identity. ``user``: who the container's process is
    unless -u says otherwise, as (uid, gid) in the container.
    """

    maps: UserMap
    on_host: UserMap
    user_namespace: bool = True
    user: tuple[int, int] | None = None
    note: str | None = None


def parse_userns(text: str | None) -> Userns:
    """Read the value of ``--userns``.

    Raises:
        UsageError: it is none of the modes, or an id in it is not one.
    """
    if not text or text in ("host", "keep-id", "me"):
        return Userns(text or "root")
    kind, _, options = text.partition(":")
    if kind not in ("keep-id", "me") or not options:
        raise _invalid_mode(text)
    ids: dict[str, int] = {}
    for option in options.split(","):
        key, _, value = option.partition("=")
        if key not in ("uid", "gid") or not (value.isascii() and value.isdigit()) or int(value) >= LIMIT:
            raise _invalid_mode(text)
        ids[key] = int(value)
    return Userns(kind, ids.get("uid"), ids.get("gid"))


def _invalid_mode(text: str) -> UsageError:
    return UsageError(
        "--userns: invalid USER mode", hint=f"{text!r} is none of: host, keep-id, keep-id:uid=UID,gid=GID, me"
    )


def holder(host: HostIds) -> HolderPlan:
    """Decide the maps of the user namespace that all of the caller's containers live under."""
    if host.uid == 0 and host.may_map:
        return _root_holder(host) if host.initial else _nested_root_holder(host)
    uids = _usable(host.subuids, host.current.uids, host.uid)
    gids = _usable(host.subgids, host.current.gids, host.gid)
    reason = _why_one(host, uids, gids)
    if reason is not None:
        return one_id(host, reason)
    maps = UserMap(_in_order(host.uid, uids), _in_order(host.gid, gids))
    return HolderPlan(maps, HELPERS, _few(host, maps))


def one_id(host: HostIds, reason: str) -> HolderPlan:
    """Plan the last rung, the caller's own id only, because of ``reason``: where newuidmap fails after all, too."""
    maps = UserMap(IdMap((IdRange(0, host.uid, 1),)), IdMap((IdRange(0, host.gid, 1),)))
    return HolderPlan(maps, ONE, f"one id only, owners of files are recorded: {reason}")


def _root_holder(host: HostIds) -> HolderPlan:
    # Never its own id, whatever the files say: root in the container would be root on the host.
    uids = _usable(host.subuids, host.current.uids, host.uid)
    gids = _usable(host.subgids, host.current.gids, host.gid)
    if uids and gids:
        maps = UserMap(_in_order(None, uids), _in_order(None, gids))
        return HolderPlan(maps, DIRECT, _few(host, maps))
    free = subid.lowest_free(host.taken, CONTAINER_FIRST, CONTAINER_LAST)
    if free is None:
        raise UsageError(
            "root has no range in /etc/subuid and none is free", hint="sudo usermod --add-subuids FIRST-LAST root"
        )
    last = free.start + free.length - 1
    note = (
        f"root has no range in /etc/subuid and /etc/subgid, so containers use the free ids {free.start}-{last}: "
        f"usermod --add-subuids {free.start}-{last} --add-subgids {free.start}-{last} root"
    )
    return HolderPlan(UserMap(_in_order(None, (free,)), _in_order(None, (free,))), DIRECT, note)


def _nested_root_holder(host: HostIds) -> HolderPlan:
    maps = UserMap(_identity(host.current.uids), _identity(host.current.gids))
    if maps.uids.count == maps.gids.count == 1:
        return HolderPlan(maps, DIRECT, "one id only, owners of files are recorded: the namespace around has no more")
    return HolderPlan(maps, DIRECT)


def _why_one(host: HostIds, uids: tuple[SubRange, ...], gids: tuple[SubRange, ...]) -> str | None:
    if not uids or not gids:
        missing = [path for path, ranges in ((subid.SUBUID, uids), (subid.SUBGID, gids)) if not ranges]
        verb = "has" if len(missing) == 1 else "have"
        return f"{' and '.join(missing)} {verb} no range for {host.user!r}: {_add_ranges(host)}"
    if host.no_new_privs:
        return "no_new_privs is set here, and with it newuidmap has no effect: start rl from outside of this sandbox"
    if not host.newuidmap or not host.newgidmap:
        program = "newgidmap" if host.newuidmap else "newuidmap"
        return f"{program} is missing or not set-user-ID: sudo apt-get install --reinstall uidmap"
    return None


def _few(host: HostIds, maps: UserMap) -> str | None:
    count = min(maps.uids.count, maps.gids.count)
    if count >= USUAL_COUNT:
        return None
    return (
        f"{host.user!r} has {count} ids only, so users from {count} on do not exist in containers: {_add_ranges(host)}"
    )


def _add_ranges(host: HostIds) -> str:
    free = subid.lowest_free(host.taken, SUB_FIRST, SUB_LAST) or SubRange(SUB_FIRST, USUAL_COUNT)
    range_ = f"{free.start}-{free.start + free.length - 1}"
    return f"sudo usermod --add-subuids {range_} --add-subgids {range_} {host.user}"


def _usable(ranges: tuple[SubRange, ...], current: IdMap, own: int) -> tuple[SubRange, ...]:
    """Keep the ids that exist in the caller's namespace, less the caller's own."""
    kept = []
    for start, count in ranges:
        for inside, _, length in current.ranges:
            first, end = max(start, inside), min(start + count, inside + length)
            if first < end:
                kept.append(SubRange(first, end - first))
    return subid.disjoint(kept, (SubRange(own, 1),))


def _in_order(own: int | None, ranges: tuple[SubRange, ...]) -> IdMap:
    """Map 0 to ``own`` where there is one, and what follows to the ranges in their order."""
    mapped = [] if own is None else [IdRange(0, own, 1)]
    inside = len(mapped)
    for start, count in ranges:
        mapped.append(IdRange(inside, start, count))
        inside += count
    return IdMap(mapped)


def _identity(map_: IdMap) -> IdMap:
    """Map the inner ids of ``map_`` to themselves, extent by extent, as a child of its namespace may."""
    return IdMap(IdRange(inside, inside, length) for inside, _, length in map_.ranges)


def container(host: HostIds, held: HolderPlan, userns: Userns = ROOT) -> ContainerPlan:
    """Decide the maps of one container under the holder.

    Raises:
        UsageError: ``keep-id`` or ``me`` for real root, whose own id containers never get.
    """
    if userns.kind == "host" and host.uid == 0 and host.initial:
        return ContainerPlan(host.current, host.current, user_namespace=False)
    if userns.kind in ("root", "host"):
        maps = UserMap(_identity(held.maps.uids), _identity(held.maps.gids))
        return ContainerPlan(maps, maps.compose(held.maps))

    own_uid = held.maps.uids.to_inside(host.uid)
    own_gid = held.maps.gids.to_inside(host.gid)
    if own_uid is None or own_gid is None:
        raise UsageError(
            f"--userns={userns.kind} is for ordinary users: no container gets root's own id", hint="use --userns=host"
        )
    note = None
    if userns.kind == "keep-id":
        user = (
            host.uid if userns.uid is None else userns.uid,
            host.gid if userns.gid is None else userns.gid,
        )
        maps = UserMap(_around(held.maps.uids, own_uid, user[0]), _around(held.maps.gids, own_gid, user[1]))
        note = f"--userns=keep-id is --userns=me here: {held.note}" if held.single and held.note else None
    else:
        user = (userns.uid or 0, userns.gid or 0)
        maps = UserMap(IdMap((IdRange(user[0], own_uid, 1),)), IdMap((IdRange(user[1], own_gid, 1),)))
    return ContainerPlan(maps, maps.compose(held.maps), user=user, note=note)


def _around(held: IdMap, own: int, wanted: int) -> IdMap:
    """Give ``own`` the container id ``wanted`` and the other held ids the ids around it, in order."""
    others = subid.disjoint([SubRange(r.inside, r.length) for r in held.ranges], (SubRange(own, 1),))
    mapped = [IdRange(wanted, own, 1)]
    inside = 0
    for start, count in others:
        if inside <= wanted < inside + count:
            before = wanted - inside
            if before:
                mapped.append(IdRange(inside, start, before))
            mapped.append(IdRange(wanted + 1, start + before, count - before))
            inside += count + 1
        else:
            mapped.append(IdRange(inside, start, count))
            inside += count
    return IdMap(mapped).restrict(_identity(held))
