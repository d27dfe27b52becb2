"""``rl logs``: choose among the records of a log and write them out as lines."""

from __future__ import annotations

import os
import time

from rootless.container import state as states
from rootless.linux import pidfd
from rootless.runtime import logs
from rootless.runtime.client import write_all
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rootless.container.state import ContainerState
    from rootless.runtime.logs import Record


class Wanted(NamedTuple):
    """What to show; ``tail``: how many of the last lines, None for all."""

    follow: bool
    tail: int | None
    since: int | None
    until: int | None
    timestamps: bool


def show(directory: str, now: ContainerState, wanted: Wanted, targets: tuple[int, int]) -> None:
    """Write the records of the container in ``directory`` to stdout's and stderr's stand-ins."""
    log = f"{directory}/log"
    running = now.status == states.RUNNING and not now.is_elsewhere()
    chosen = logs.read(log)
    if wanted.tail is not None:
        last, seen = tail(_between(chosen, wanted), wanted.tail)
        _write(last, wanted, targets)
        if wanted.follow and running:
            # From the very record on that comes next: the container writes while we do.
            _follow(directory, log, now, wanted, targets, seen + 1)
    elif wanted.follow and running:
        _follow(directory, log, now, wanted, targets, None)
    else:
        _write(_between(chosen, wanted), wanted, targets)


def _follow(
    directory: str, log: str, now: ContainerState, wanted: Wanted, targets: tuple[int, int], since: int | None
) -> None:
    try:
        monitor = pidfd.pidfd_open(now.monitor)
    except ProcessLookupError:
        monitor = -1

    def ended() -> bool:
        try:
            return states.current(directory).status != states.RUNNING or not pidfd.is_alive(
                now.monitor, now.monitor_start
            )
        except FileNotFoundError:
            return True

    later = wanted._replace(since=since) if since is not None else wanted
    try:
        _write(_between(logs.follow(log, ended=ended, wake=monitor), later), wanted, targets)
    finally:
        if monitor >= 0:
            os.close(monitor)


def _between(records: Iterable[Record], wanted: Wanted) -> Iterator[Record]:
    for record in records:
        if wanted.until is not None and record.time > wanted.until:
            return
        if wanted.since is None or record.time >= wanted.since:
            yield record


def tail(records: Iterable[Record], lines: int) -> tuple[list[Record], int]:
    """Return records that hold the last ``lines`` lines, and the time of the last record seen, 0 if there is none."""
    kept: list[Record] = []
    count = seen = 0
    for record in records:
        seen = record.time
        kept.append(record)
        count += record.data.count(b"\n")
        while kept and count - kept[0].data.count(b"\n") > lines:
            count -= kept.pop(0).data.count(b"\n")
    if lines == 0:
        return [], seen
    # The last line may lack its newline, and counts all the same.
    excess = count + (1 if kept and not kept[-1].data.endswith(b"\n") else 0) - lines
    while excess > 0 and kept:
        first = kept[0]
        _, newline, rest = first.data.partition(b"\n")
        if newline:
            excess -= 1
        kept[0] = first._replace(data=rest)
        if not rest:
            kept.pop(0)
    return kept, seen


def _write(records: Iterable[Record], wanted: Wanted, targets: tuple[int, int]) -> None:
    fresh = {logs.STDOUT: True, logs.STDERR: True, logs.REMARK: True}
    for record in records:
        target = targets[0] if record.stream == logs.STDOUT else targets[1]
        data = record.data
        if wanted.timestamps:
            data, fresh[record.stream] = stamp(record, fresh[record.stream])
        write_all(target, data)


def stamp(record: Record, fresh: bool) -> tuple[bytes, bool]:
    """Put the record's time before each line that begins in it; tell whether the next record begins one."""
    prefix = timestamp(record.time).encode() + b" "
    # Not splitlines: a carriage return, as of a progress bar, begins no line.
    lines = record.data.split(b"\n")
    ended = not lines[-1]
    stamped = [prefix + line if number or fresh else line for number, line in enumerate(lines[: -1 if ended else None])]
    return b"\n".join(stamped) + (b"\n" if ended else b""), ended


def timestamp(nanoseconds: int) -> str:
    """Return a time as RFC 3339 in UTC with nine digits, as Docker prints it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
