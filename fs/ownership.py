"""Who owns a new file: what an archive says, through the map of ids, and a stand-in where the map has no such id."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from idmap.ranges import IdMap, UserMap

_REMEMBERED: Final = 4096


class Owner(NamedTuple):
    """An owner for chown(2). ``change``: a new file has another one; ``outside``: of the map, so it is recorded."""

    uid: int
    gid: int
    change: bool
    outside: bool


class Ownership:
    """The answer for each pair of ids of the archive; owners repeat."""

    def __init__(self, maps: UserMap) -> None:
        self._maps = maps
        self._mine = (os.geteuid(), os.getegid())
        self._known: dict[tuple[int, int], Owner] = {}
        #: Of what belongs to nobody in the archive.
        self.root = self._owner(_stand_in(maps.uids), _stand_in(maps.gids), outside=False)

    def of(self, uid: int, gid: int) -> Owner:
        """Return who shall own what belongs to ``uid`` and ``gid`` in the archive."""
        owner = self._known.get((uid, gid))
        if owner is None:
            mapped = (self._maps.uids.to_outside(uid), self._maps.gids.to_outside(gid))
            owner = self._owner(
                self.root.uid if mapped[0] is None else mapped[0],
                self.root.gid if mapped[1] is None else mapped[1],
                outside=None in mapped,
            )
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[uid, gid] = owner
        return owner

    def _owner(self, uid: int, gid: int, *, outside: bool) -> Owner:
        return Owner(uid, gid, (uid, gid) != self._mine, outside)


def _stand_in(ids: IdMap) -> int:
    """Return the id that owns what belongs to nobody in the map: that of root, or the first there is."""
    root = ids.to_outside(0)
    return ids.ranges[0].outside if root is None else root
