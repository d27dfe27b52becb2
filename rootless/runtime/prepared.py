"""What a monitor is given when it is forked: all of it decided and loaded before."""

from __future__ import annotations

import os

from rootless.runtime.streams import enlarge
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from idmap.ranges import UserMap
    from rootless.container.record import ContainerRecord
    from rootless.container.spec import Spec
    from rootless.runtime import plan


class Prepared(NamedTuple):
    """All that a monitor needs, decided and loaded before it is forked.

    ``enter``: joins the holder's user namespace. ``forget``: removes the container (``--rm``).
    ``maps``: what is written for the container's user namespace, None without one.
    ``owner``: the host's ids of the container's root where they are not the caller's (for real root).
    """

    directory: str
    record: ContainerRecord
    spec: Spec
    situation: plan.Situation
    maps: UserMap | None
    owner: tuple[int, int] | None
    enter: Callable[[], None]
    forget: Callable[[], None]
    keep: tuple[int, ...]


class ClientEnds(NamedTuple):
    """The ends of a client's pipes that the monitor takes over; -1 where the client wants no such stream."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class Stdio:
    """What the container gets as 0, 1 and 2 (``far``), and our ends of it; with a terminal it makes its own."""

    def __init__(self, record: ContainerRecord, owner: tuple[int, int] | None) -> None:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.stdin = -1
        self.outputs: tuple[int, ...] = ()
        self.far = (null, null, null)
        if record.tty:
            return
        far_in = null
        if record.open_stdin:
            far_in, self.stdin = os.pipe()
        pairs = (os.pipe(), os.pipe())
        self.outputs = (pairs[0][0], pairs[1][0])
        for end in self.outputs:
            enlarge(end)
        self.far = (far_in, pairs[0][1], pairs[1][1])
        if far_in != null:
            os.close(null)
        if owner is not None:
            # While we still have the right: inside, the pipes' owner would not even exist.
            for end in self.far:
                if end != null:
                    os.fchown(end, *owner)
