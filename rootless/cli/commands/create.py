"""``rl create``: make a container, to be started later."""

from __future__ import annotations

import os

from rootless.cli import request
from rootless.cli.table import BOOL, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "create",
    about="Prints the container's id. Takes the options of `rl run`.",
    arguments=request.ARGUMENTS,
    options=(
        Option("--rm", BOOL, "Remove the container when it ends", field="remove", panel="Start"),
        *request.OPTIONS,
    ),
    examples=(("rl start -a -i $(rl create -i busybox cat)", "make a container, then start it"),),
    interspersed=False,
)


def execute(options: Options) -> int:
    """Make the container and print its id."""
    from rootless.engine import run

    print(run.create(request.run_request(options, os.environ, os.getcwd(), remove=options.flag("remove"))))
    return 0
