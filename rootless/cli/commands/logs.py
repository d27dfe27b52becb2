"""``rl logs``: show what a container has printed."""

from __future__ import annotations

import time

from rootless.cli import durations
from rootless.cli.table import BOOL, STR, Argument, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "logs",
    about="What went to stdout comes on stdout, what went to stderr on stderr.",
    arguments=(Argument("CONTAINER", "Its name or the beginning of its id", complete="container"),),
    options=(
        Option("-f --follow", BOOL, "Go on as more is printed"),
        Option("-n --tail", STR, "Show only so many lines at the end", "LINES", default="all"),
        Option("--since", STR, "Begin at this time, or so long ago", "TIME|SPAN"),
        Option("--until", STR, "End at this time, or so long ago", "TIME|SPAN"),
        Option("-t --timestamps", BOOL, "Put the time before every line"),
    ),
    examples=(
        ("rl logs -f web", "what it printed, and all that comes"),
        ("rl logs --since 10m --tail 100 web", "at most 100 lines of the last ten minutes"),
    ),
)


def execute(options: Options) -> int:
    """Copy the log to stdout and stderr."""
    from rootless.engine import containers

    now = time.time_ns()
    since, until = options.text("since"), options.text("until")
    containers.logs(
        options.arguments[0],
        follow=options.flag("follow"),
        tail=_tail(options.text("tail") or "all"),
        since=durations.moment("since", since, now) if since else None,
        until=durations.moment("until", until, now) if until else None,
        timestamps=options.flag("timestamps"),
        stdout=1,
        stderr=2,
    )
    return 0


def _tail(text: str) -> int | None:
    """Return the number of lines, or None for all; Docker takes what is no number for all."""
    return int(text) if text.isascii() and text.isdigit() else None
