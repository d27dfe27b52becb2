"""Subordinate ids: which ranges an administrator gave to a user (subuid(5), subgid(5), getsubids(1))."""

from __future__ import annotations

import os

from idmap.ranges import LIMIT
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

SUBUID: Final = "/etc/subuid"
SUBGID: Final = "/etc/subgid"
NSSWITCH: Final = "/etc/nsswitch.conf"


class SubRange(NamedTuple):
    """``length`` ids from ``start`` on."""

    start: int
    length: int


class Line(NamedTuple):
    """A well-formed line: ``owner`` is a user's name or uid, in subgid(5) too."""

    owner: str
    range: SubRange


class Subids(NamedTuple):
    """What was found for a user; ``problems`` are sentences about lines that were passed over."""

    ranges: tuple[SubRange, ...] = ()
    problems: tuple[str, ...] = ()


class Parsed(NamedTuple):
    """All lines of a file, and sentences about those that make no sense."""

    lines: tuple[Line, ...] = ()
    problems: tuple[str, ...] = ()


def parse(text: str, path: str = SUBUID) -> Parsed:
    """Read ``owner:start:count`` lines; ``path`` is only for the sentences about bad ones."""
    lines: list[Line] = []
    problems: list[str] = []
    for number, text_line in enumerate(text.splitlines(), 1):
        stripped = text_line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        fields = stripped.split(":")
        if len(fields) != 3 or not fields[0] or not (_is_number(fields[1]) and _is_number(fields[2])):
            problems.append(f"{path} line {number} is not owner:start:count: {stripped!r}")
            continue
        range_ = SubRange(int(fields[1]), int(fields[2]))
        if range_.length == 0 or range_.start + range_.length > LIMIT:
            problems.append(f"{path} line {number} is empty or leaves the 32 bits: {stripped!r}")
            continue
        lines.append(Line(fields[0], range_))
    return Parsed(tuple(lines), tuple(problems))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def of_user(parsed: Parsed, user: str, uid: int) -> Subids:
    """Pick the ranges of a user by name or by uid, in the order of the file, no id twice."""
    mine = [line.range for line in parsed.lines if line.owner in (user, str(uid))]
    return Subids(disjoint(mine), parsed.problems)


def disjoint(ranges: list[SubRange] | tuple[SubRange, ...], without: tuple[SubRange, ...] = ()) -> tuple[SubRange, ...]:
    """Keep the order and drop what an earlier range or ``without`` already has: no id can be mapped twice."""
    taken = list(without)
    kept: list[SubRange] = []
    for range_ in ranges:
        for piece in _subtract(range_, taken):
            kept.append(piece)
            taken.append(piece)
    return tuple(kept)


def _subtract(range_: SubRange, taken: list[SubRange]) -> Iterator[SubRange]:
    start, end = range_.start, range_.start + range_.length
    for other in sorted(taken):
        if other.start + other.length <= start or other.start >= end:
            continue
        if start < other.start:
            yield SubRange(start, other.start - start)
        start = other.start + other.length
    if start < end:
        yield SubRange(start, end - start)


def lowest_free(taken: tuple[SubRange, ...], first: int, last: int, count: int = 65536) -> SubRange | None:
    """Return the lowest ``count`` ids at ``first`` plus a multiple of ``count`` that overlap nothing in ``taken``."""
    start = first
    for other in sorted(taken):
        if other.start >= start + count:
            break
        while other.start < start + count and other.start + other.length > start:
            start += count
    return SubRange(start, count) if start + count - 1 <= last else None


def asks_nss(nsswitch: str) -> bool:
    """Tell whether nsswitch.conf(5) sends look-ups of subordinate ids elsewhere than to the files.

    shadow's libsubid heeds the first source only.
    """
    for line in nsswitch.splitlines():
        database, _, sources = line.partition("#")[0].partition(":")
        if database.strip() == "subid":
            return sources.split()[:1] not in ([], ["files"])
    return False


def parse_getsubids(text: str) -> tuple[SubRange, ...]:
    """Read the lines ``index: owner start count`` that getsubids(1) prints."""
    ranges = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4 and _is_number(fields[2]) and _is_number(fields[3]):
            range_ = SubRange(int(fields[2]), int(fields[3]))
            if range_.length and range_.start + range_.length <= LIMIT:
                ranges.append(range_)
    return disjoint(ranges)


def getsubids(program: str, user: str, *, groups: bool = False) -> tuple[SubRange, ...]:
    """Ask getsubids(1), and so the name service, for the ranges of ``user``; nothing where it has none."""
    reader, writer = os.pipe()
    try:
        argv = [program, *(["-g"] if groups else []), user]
        actions = [
            (os.POSIX_SPAWN_DUP2, writer, 1),
            (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
        ]
        try:
            pid = os.posix_spawn(program, argv, os.environ, file_actions=actions)
        finally:
            os.close(writer)
        output = b""
        while chunk := os.read(reader, 65536):
            output += chunk
    except OSError:
        return ()
    finally:
        os.close(reader)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD, and what was printed is what counts
    return parse_getsubids(output.decode(errors="replace"))
