"""``rl rm``: remove containers."""

from __future__ import annotations

from rootless.cli.each import each
from rootless.cli.table import BOOL, Argument, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "rm",
    arguments=(Argument("CONTAINER", "Names or beginnings of ids", many=True, complete="container"),),
    options=(
        Option("-f --force", BOOL, "Kill it first if it runs; a container that is gone is no failure"),
        Option("-v --volumes", BOOL, "Remove also the unnamed volumes that were made for it"),
    ),
    examples=(("rl rm web", "remove a stopped container"), ("rl rm -f $(rl ps -aq)", "remove all")),
)


def execute(options: Options) -> int:
    """Remove each container and print its name; with -f a missing one is told but is no failure."""
    from rootless.engine import containers

    force, volumes = options.flag("force"), options.flag("volumes")
    return each(
        options.arguments,
        lambda name: containers.remove(name, force=force, volumes=volumes),
        missing_ok=force,
    )
