"""``rl exec``: run a further command in a running container."""

from __future__ import annotations

import os

from rootless.cli import request
from rootless.cli.table import BOOL, Argument, Option, Verb
from rootless.container.request import ExecRequest
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "exec",
    about="Everything after CONTAINER belongs to the command. The exit code is the command's.",
    arguments=(
        Argument("CONTAINER", "Its name or the beginning of its id", complete="running"),
        Argument("COMMAND", "What to run", many=True),
    ),
    options=(
        Option("-d --detach", BOOL, "Do not wait for the command", panel="Start"),
        *request.PROCESS,
        Option("--privileged", BOOL, "All capabilities", panel="Start"),
        request.DETACH_KEYS,
    ),
    examples=(
        ("rl exec -it web sh", "a shell beside what runs there"),
        ("rl exec -u root -w /tmp web ls -l", "one command, as root, in a directory"),
    ),
    interspersed=False,
)


def execute(options: Options) -> int:
    """Run the command and return its exit code."""
    from rootless.engine import containers

    detach = options.flag("detach")
    container, *command = options.arguments
    return containers.exec_(
        ExecRequest(
            container=container,
            command=tuple(command),
            interactive=options.flag("interactive"),
            tty=options.flag("tty"),
            detach=detach,
            environment=request.environment(options, os.environ),
            workdir=options.text("workdir"),
            user=options.text("user"),
            privileged=options.flag("privileged"),
            detach_keys=options.text("detach_keys") or "",
            tty_size=None if detach else request.terminal(options),
        )
    )
