"""The caller's ids, the holder that keeps them, and how to enter its namespace."""

from __future__ import annotations

from idmap import detect
from idmap import plan as idplan
from idmap.plan import ContainerPlan, HolderPlan
from idmap.ranges import IdMap, UserMap
from rootless import log
from rootless.runtime import holder as holders
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from idmap.plan import HostIds
    from rootless.image.unpack import Unpacker
    from rootless.paths import Paths
    from rootless.runtime.holder import Holder


class Ids(NamedTuple):
    """What was decided of ids: by the host, for the holder, and for one container."""

    host: HostIds
    held: HolderPlan
    container: ContainerPlan

    @property
    def root(self) -> tuple[int, int]:
        """The container's ids that make its mounts: 0 where it is mapped, else the only ones."""
        maps = self.container.maps
        uid = 0 if maps.uids.to_outside(0) is not None else maps.uids.ranges[0].inside
        gid = 0 if maps.gids.to_outside(0) is not None else maps.gids.ranges[0].inside
        return uid, gid

    @property
    def host_root(self) -> tuple[int, int]:
        """The same as ids of the host, which own the container's files."""
        uid, gid = self.root
        on_host = self.container.on_host
        outer_uid, outer_gid = on_host.uids.to_outside(uid), on_host.gids.to_outside(gid)
        assert outer_uid is not None and outer_gid is not None  # ``root`` is mapped
        return outer_uid, outer_gid


def decide(userns: str | None, user: tuple[int, int] | None = None, host: HostIds | None = None) -> Ids:
    """Decide the ids of a container; ``user`` is who its command runs as, if that is known.

    ``host``: what was gathered before; the machine is asked if it is not given.

    Where there is one id only and nothing else was asked, that id is the command's user: a
    container that runs as 999 then works on a host without ranges.
    """
    host = host or detect.gather()
    held = idplan.holder(host)
    parsed = idplan.parse_userns(userns)
    if user is not None and (parsed.kind == "me" or (held.single and parsed.kind in ("root", "host"))):
        if parsed.uid is None and parsed.gid is None:
            parsed = parsed._replace(kind="me", uid=user[0], gid=user[1])
    return Ids(host, held, idplan.container(host, held, parsed))


def recorded(uid_map: str, gid_map: str, holder_uid_map: str, holder_gid_map: str) -> Ids:
    """Return the ids of a container as they were when it was created; /etc/subuid may have changed since."""
    host = detect.gather()
    if not uid_map:
        plan = idplan.container(host, idplan.holder(host), idplan.Userns("host"))
        return Ids(host, idplan.holder(host), plan)
    maps = UserMap(IdMap.parse(uid_map), IdMap.parse(gid_map))
    outer = UserMap(IdMap.parse(holder_uid_map), IdMap.parse(holder_gid_map))
    how = idplan.HELPERS
    if host.may_map:
        how = idplan.DIRECT
    elif outer.uids.count == outer.gids.count == 1:
        how = idplan.ONE
    return Ids(host, HolderPlan(outer, how), ContainerPlan(maps, maps.compose(outer)))


def hold(paths: Paths, ids: Ids) -> Holder | None:
    """Return the holder, started if need be; None where the container shares the host's user namespace."""
    if not ids.container.user_namespace:
        return None
    found = holders.ensure(paths.runtime, ids.host, ids.held)
    if found.is_new and ids.held.note:
        log.say(ids.held.note)  # once until the next boot; `rl info` and -v say it again
    return found


class Entry:
    """Enters the holder's namespace and becomes its root; for forked workers. Finds the holder when first used."""

    def __init__(self, paths: Paths, ids: Ids) -> None:
        self._paths = paths
        self._ids = ids
        self._holder: Holder | None = None

    def prepare(self) -> None:
        """Find or start the holder now, in the parent of the workers."""
        if self._holder is None:
            self._holder = hold(self._paths, self._ids)

    def __call__(self) -> None:
        self.prepare()
        if self._holder is not None:
            holders.join(self._holder)
            holders.become_root()


def unpacker(paths: Paths, ids: Ids) -> Unpacker:
    """Return how layers are unpacked for a container with these ids."""
    from rootless.image.unpack import Unpacker  # loads the decompressors

    entry = Entry(paths, ids)
    entry.prepare()
    uid, gid = ids.host_root
    plan = ids.container
    maps = plan.maps
    if plan.on_host.fingerprint() == "one":
        # All one-id maps share their layers, so owners are recorded alike, whichever id is mapped.
        maps = UserMap(_zero_based(maps.uids), _zero_based(maps.gids))
    return Unpacker(maps, plan.on_host.fingerprint(), uid, gid, entry, plan.on_host)


def _zero_based(single: IdMap) -> IdMap:
    (range_,) = single.ranges
    return IdMap((range_._replace(inside=0),))
