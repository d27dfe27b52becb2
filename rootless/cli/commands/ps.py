"""``rl ps``: list containers."""

from __future__ import annotations

import time

from rootless.cli import durations, render
from rootless.cli.table import BOOL, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options
    from rootless.engine.containers import ContainerView

VERB: Final = Verb(
    "ps",
    about="Shows those that run, newest first.",
    options=(
        Option("-a --all", BOOL, "Show also those that do not run"),
        Option("-q --quiet", BOOL, "Print ids only"),
        Option("--no-trunc", BOOL, "Cut nothing off"),
    ),
    examples=(("rl ps -a", "all containers"), ("rl rm -f $(rl ps -aq)", "remove them all")),
)
HEADER: Final = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")


def execute(options: Options) -> int:
    """Print the table, or with -q the ids."""
    from rootless.engine import containers

    views = sorted(containers.list_containers(all=options.flag("all")), key=lambda view: -view.created)
    whole = options.flag("no_trunc")
    if options.flag("quiet"):
        print("".join(f"{view.id if whole else render.short_id(view.id)}\n" for view in views), end="")
    else:
        now = time.time_ns()
        print(render.table(HEADER, [row(view, now, whole=whole) for view in views]), end="")
    return 0


def row(view: ContainerView, now: int, *, whole: bool) -> tuple[str, ...]:
    """Return the cells of one container."""
    return (
        view.id if whole else render.short_id(view.id),
        view.image or "<no image>",
        render.command(view.command, whole=whole),
        f"{durations.human(now - view.created)} ago",
        status(view, now),
        view.ports,
        view.name,
    )


def status(view: ContainerView, now: int) -> str:
    """Return the STATUS cell: what the container does and since when."""
    if view.state == "running":
        return f"Up {durations.human(now - view.started)}"
    if view.state == "paused":
        return f"Up {durations.human(now - view.started)} (Paused)"
    if view.state == "exited":
        ended = f" {durations.human(now - view.finished)} ago" if view.finished else ""
        return f"Exited ({view.exit_code}){ended}"
    if view.state == "removing":
        return "Removal In Progress"
    return view.state[:1].upper() + view.state[1:]
