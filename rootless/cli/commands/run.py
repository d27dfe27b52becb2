"""``rl run``: make a container and run a command in it."""

from __future__ import annotations

import os

from rootless.cli import request
from rootless.cli.table import BOOL, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "run",
    about=(
        "Everything after IMAGE belongs to the command. The exit code is the command's; 125 means that rl failed, "
        "126 that the command is not executable, 127 that it was not found."
    ),
    arguments=request.ARGUMENTS,
    options=(
        Option("-d --detach", BOOL, "Run in the background and print the container's id", panel="Start"),
        Option("--rm", BOOL, "Remove the container when it ends", field="remove", panel="Start"),
        *request.OPTIONS,
    ),
    examples=(
        ("rl run --rm -it debian bash", "a shell in a fresh Debian"),
        ("rl run --rm -v .:/src -w /src gcc make", "a compiler that is not installed here, on your own files"),
        (
            "rl run -d --name db -e MODE=test -v ./data:/data redis",
            "in the background, its files in a directory",
        ),
    ),
    interspersed=False,
)


def execute(options: Options) -> int:
    """Run the container; in the foreground the exit code is the command's."""
    from rootless.engine import run

    detach = options.flag("detach")
    size = None if detach else request.terminal(options)
    return run.run(
        request.run_request(
            options, os.environ, os.getcwd(), detach=detach, remove=options.flag("remove"), tty_size=size
        )
    )
