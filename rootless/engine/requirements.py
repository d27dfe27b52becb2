"""``--require FEATURE=WAY``: fail where a ladder would fall back to a lower rung."""

from __future__ import annotations

from rootless.errors import HostUnsupported, UsageError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.engine.ids import Ids

#: The ways of each feature that exist.
WAYS = {
    "ids": ("range", "one"),
    "storage": ("overlay", "plain"),
    "net": ("none", "host", "container"),
}


def check(wanted: tuple[str, ...], ids: Ids, storage: str, network: str) -> None:
    """Compare what was required with what was chosen.

    Raises:
        UsageError: a requirement names no feature or way there is.
        HostUnsupported: another way was chosen; the hint says what would lift that, if something would.
    """
    chosen = {
        "ids": "one" if ids.held.single else "range",
        "storage": storage,
        "net": network.partition(":")[0],
    }
    for requirement in wanted:
        feature, _, way = requirement.partition("=")
        if way not in WAYS.get(feature, ()):
            known = "; ".join(f"{name}={'|'.join(ways)}" for name, ways in WAYS.items())
            raise UsageError(f"--require: there is no {requirement!r}", hint=f"there are {known}")
        if chosen[feature] != way:
            reason = ids.held.note if feature == "ids" else "rl info says why"
            raise HostUnsupported(f"--require {requirement}: this host gives {feature}={chosen[feature]}", hint=reason)
