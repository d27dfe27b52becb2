"""``rl stop``: stop containers, gently first."""

from __future__ import annotations

from rootless.cli.each import each
from rootless.cli.table import INT, STR, Argument, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "stop",
    about="Sends the stop signal, waits, then kills. A container that does not run is stopped already.",
    arguments=(Argument("CONTAINER", "Names or beginnings of ids", many=True, complete="running"),),
    options=(
        Option("-t --timeout --time", INT, "How long to wait before killing; -1 for ever (10)", "SECONDS"),
        Option("-s --signal", STR, "What to send first", "SIGNAL"),
    ),
    examples=(("rl stop web", "stop it"), ("rl stop -t 60 db", "give it a minute")),
)


def execute(options: Options) -> int:
    """Stop each container and print its name."""
    from rootless.engine import containers

    timeout, signal = options.number("timeout"), options.text("signal")
    return each(options.arguments, lambda name: containers.stop(name, timeout, signal))
