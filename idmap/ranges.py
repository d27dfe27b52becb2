"""Id maps: which id of a container is which id outside of it (user_namespaces(7))."""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

# hashlib loads OpenSSL, which costs more than everything else in this module.
try:
    from _sha2 import sha256 as _sha256  # type: ignore[import-not-found,unused-ignore]  # Python 3.12
except ImportError:
    try:
        from _sha256 import sha256 as _sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from hashlib import sha256 as _sha256

#: One past the last id: (uid_t) -1 means "no id" to the kernel.
LIMIT: Final = 0xFFFFFFFF
#: Extents that one map may have (user_namespaces(7), Linux 4.15).
MAX_EXTENTS: Final = 340


class IdRange(NamedTuple):
    """``length`` ids from ``inside`` (in the container) on to ``outside``."""

    inside: int
    outside: int
    length: int

    def to_outside(self, id_: int) -> int | None:
        """Return the outer id of ``id_``, or None if it is not mapped."""
        offset = id_ - self.inside
        return self.outside + offset if 0 <= offset < self.length else None

    def to_inside(self, id_: int) -> int | None:
        """Return the inner id of the outer ``id_``, or None if it is not mapped."""
        offset = id_ - self.outside
        return self.inside + offset if 0 <= offset < self.length else None


class IdMap:
    """An immutable one-to-one map of ids, as ranges sorted by their inner ids.

    Raises:
        ValueError: ranges overlap inside or outside, are empty, or leave the 32 bits.
    """

    __slots__ = ("ranges",)

    ranges: tuple[IdRange, ...]

    def __init__(self, ranges: Iterable[IdRange] = ()) -> None:
        ordered = tuple(sorted(ranges))
        for range_ in ordered:
            inside, outside, length = range_
            if length <= 0 or min(inside, outside) < 0 or max(inside, outside) + length > LIMIT:
                raise ValueError(f"id range {inside} {outside} {length} is empty or leaves the 32 bits")
        _refuse_overlap([(r.inside, r.length) for r in ordered], "inside")
        _refuse_overlap(sorted((r.outside, r.length) for r in ordered), "outside")
        object.__setattr__(self, "ranges", ordered)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"IdMap is immutable: cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f"IdMap({', '.join(f'{r.inside}->{r.outside}+{r.length}' for r in self.ranges)})"

    @classmethod
    def parse(cls, text: str) -> IdMap:
        """Read lines of ``inside outside length``, as /proc/PID/uid_map gives them.

        Raises:
            ValueError: a line has not three numbers, or the ranges are no valid map.
        """
        ranges = []
        for line in text.splitlines():
            if fields := line.split():
                inside, outside, length = fields
                ranges.append(IdRange(int(inside), int(outside), int(length)))
        return cls(ranges)

    @property
    def count(self) -> int:
        """How many ids are mapped."""
        return sum(r.length for r in self.ranges)

    def to_outside(self, id_: int) -> int | None:
        """Return the outer id of ``id_``, or None if it is not mapped."""
        for inside, outside, length in self.ranges:
            offset = id_ - inside
            if 0 <= offset < length:
                return outside + offset
        return None

    def to_inside(self, id_: int) -> int | None:
        """Return the inner id of the outer ``id_``, or None if it is not mapped."""
        for inside, outside, length in self.ranges:
            offset = id_ - outside
            if 0 <= offset < length:
                return inside + offset
        return None

    def restrict(self, outer: IdMap) -> IdMap:
        """Keep the ids whose outer id exists in ``outer``, each extent within one extent of ``outer``.

        This is what the kernel accepts as the map of a child of a namespace that has the map ``outer``.
        """
        kept = []
        for mine in self.ranges:
            for theirs in outer.ranges:
                first = max(mine.outside, theirs.inside)
                end = min(mine.outside + mine.length, theirs.inside + theirs.length)
                if first < end:
                    kept.append(IdRange(mine.inside + first - mine.outside, first, end - first))
        return IdMap(kept)

    def compose(self, outer: IdMap) -> IdMap:
        """Follow this map and then ``outer``: container to holder, holder to host, gives container to host.

        Ids that ``outer`` does not map are dropped.
        """
        composed = []
        for mine in self.restrict(outer).ranges:
            outside = outer.to_outside(mine.outside)
            assert outside is not None  # restrict kept it
            composed.append(IdRange(mine.inside, outside, mine.length))
        return IdMap(composed)

    def invert(self) -> IdMap:
        """Return the map in the other direction."""
        return IdMap(IdRange(r.outside, r.inside, r.length) for r in self.ranges)

    def merged(self) -> IdMap:
        """Return the same map in as few ranges as it can be written in."""
        merged: list[IdRange] = []
        for range_ in self.ranges:
            if merged:
                last = merged[-1]
                if (last.inside + last.length, last.outside + last.length) == range_[:2]:
                    merged[-1] = IdRange(last.inside, last.outside, last.length + range_.length)
                    continue
            merged.append(range_)
        return IdMap(merged)

    def text(self) -> str:
        """Return the lines that /proc/PID/uid_map takes."""
        return "".join(f"{r.inside} {r.outside} {r.length}\n" for r in self.ranges)


def _refuse_overlap(spans: list[tuple[int, int]], side: str) -> None:
    end = 0
    for start, length in spans:
        if start < end:
            raise ValueError(f"id ranges overlap {side} at {start}")
        end = start + length


class UserMap(NamedTuple):
    """The user and group ids of one user namespace."""

    uids: IdMap
    gids: IdMap

    def fingerprint(self) -> str:
        """Name the owners that files get under this map: ``one``, or 12 hexadecimal digits.

        Maps that are equal as functions have the same name, however they are split into ranges.
        """
        if self.uids.count == 1 and self.gids.count == 1:
            return "one"
        canonical = f"u\n{self.uids.merged().text()}g\n{self.gids.merged().text()}"
        return str(_sha256(canonical.encode()).hexdigest()[:12])

    def compose(self, outer: UserMap) -> UserMap:
        """Follow this map and then ``outer``."""
        return UserMap(self.uids.compose(outer.uids), self.gids.compose(outer.gids))

    def invert(self) -> UserMap:
        """Return the map in the other direction."""
        return UserMap(self.uids.invert(), self.gids.invert())
