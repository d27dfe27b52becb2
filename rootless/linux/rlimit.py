"""Resource limits (getrlimit(2))."""

from __future__ import annotations

import resource

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

INFINITY: Final = resource.RLIM_INFINITY
#: Number by the name that ``--ulimit`` takes.
BY_NAME: Final = {
    name[len("RLIMIT_") :].lower(): getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")
}


def set_clamped(number: int, soft: int, hard: int) -> None:
    """Set a limit to at most what the present hard limit allows; -1 is unlimited.

    A default that the host does not grant must not stop a container from starting.
    """
    _, most = resource.getrlimit(number)
    hard = most if hard == INFINITY or (most != INFINITY and hard > most) else hard
    soft = hard if soft == INFINITY or (hard != INFINITY and soft > hard) else soft
    resource.setrlimit(number, (soft, hard))
