"""``rl start``: start containers that do not run."""

from __future__ import annotations

from rootless.cli import request
from rootless.cli.each import each
from rootless.cli.errors import say
from rootless.cli.table import BOOL, Argument, Option, Verb
from rootless.cli.usage import ClientError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "start",
    arguments=(Argument("CONTAINER", "Names or beginnings of ids", many=True, complete="container"),),
    options=(
        Option("-a --attach", BOOL, "Show its output and pass signals on; exit with its exit code"),
        Option("-i --interactive", BOOL, "Pass our stdin on"),
        request.DETACH_KEYS._replace(panel="Options"),
    ),
    examples=(("rl start web", "start it again"), ("rl start -a -i shell", "start it and use it")),
)


def execute(options: Options) -> int:
    """Start each container, or one of them with our terminal."""
    from rootless.engine import containers

    attach, interactive = options.flag("attach"), options.flag("interactive")
    keys = options.text("detach_keys") or ""
    if attach or interactive:
        if len(options.arguments) > 1:
            raise ClientError("you cannot start and attach multiple containers at once")
        return containers.start(options.arguments, attach=attach, interactive=interactive, detach_keys=keys)
    failed = []

    def start(name: str) -> None:
        failed.append(name)
        containers.start((name,), attach=False, interactive=False, detach_keys=keys)
        failed.pop()

    code = each(options.arguments, start)
    if failed:
        say(f"Error: failed to start containers: {', '.join(failed)}")
    return code
