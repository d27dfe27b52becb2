"""``rl attach``: connect our terminal to a running container."""

from __future__ import annotations

from rootless.cli import request
from rootless.cli.table import BOOL, Argument, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "attach",
    about="The detach keys (ctrl-p ctrl-q) give the terminal back and leave the container running.",
    arguments=(Argument("CONTAINER", "Its name or the beginning of its id", complete="running"),),
    options=(
        Option("--no-stdin", BOOL, "Do not pass our stdin on"),
        Option("--sig-proxy", BOOL, "Pass signals on to the command", default=True),
        request.DETACH_KEYS._replace(panel="Options"),
    ),
    examples=(("rl attach --no-stdin web", "watch what it prints from now on"),),
)


def execute(options: Options) -> int:
    """Attach, and exit with the container's exit code."""
    from rootless.engine import containers

    return containers.attach(
        options.arguments[0],
        stdin=not options.flag("no_stdin"),
        sig_proxy=options.flag("sig_proxy"),
        detach_keys=options.text("detach_keys") or "",
    )
