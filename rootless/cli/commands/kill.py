"""``rl kill``: send a signal to containers."""

from __future__ import annotations

from rootless.cli.each import each
from rootless.cli.table import STR, Argument, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "kill",
    arguments=(Argument("CONTAINER", "Names or beginnings of ids", many=True, complete="running"),),
    options=(Option("-s --signal", STR, "What to send: KILL, SIGHUP, 15", "SIGNAL", default="KILL"),),
    examples=(("rl kill -s HUP web", "make a server read its configuration again"),),
)


def execute(options: Options) -> int:
    """Signal each container and print its name."""
    from rootless.engine import containers

    signal = options.text("signal") or "KILL"
    return each(options.arguments, lambda name: containers.kill(name, signal))
