"""How layers are unpacked for one kind of container; apart from the doing, which the hot path does not load."""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from idmap.ranges import UserMap


class Unpacker(NamedTuple):
    """How layers are unpacked for one kind of container; made by the engine.

    ``maps``: ids of the container to ids of the namespace that ``enter`` joins.
    ``fingerprint``: names the container's map to the host.
    ``root_uid`` and ``root_gid``: the host's ids of the container's root.
    ``host``: the map that the fingerprint names, recorded so that the layer can be removed after it has changed.
    ``enter``: joins the user namespace and becomes its root; called in a forked worker that has one thread.
    """

    maps: UserMap
    fingerprint: str
    root_uid: int
    root_gid: int
    enter: Callable[[], None]
    host: UserMap | None = None
