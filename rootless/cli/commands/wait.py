"""``rl wait``: wait until containers stop."""

from __future__ import annotations

from rootless.cli import errors
from rootless.cli.table import Argument, Verb
from rootless.errors import RlError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options

VERB: Final = Verb(
    "wait",
    about="Prints one exit code a line, in the order of the names.",
    arguments=(Argument("CONTAINER", "Names or beginnings of ids", many=True, complete="running"),),
    examples=(("rl wait job1 job2", "wait for both"),),
)


def execute(options: Options) -> int:
    """Print each container's exit code when it has stopped."""
    from rootless.engine import containers

    code = 0
    for name in options.arguments:
        try:
            print(containers.wait(name), flush=True)
        except RlError as error:
            errors.show(error)
            code = max(code, error.verb_exit_code)
    return code
