"""``rl rmi``: remove images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rootless.cli import errors, render
from rootless.cli.table import BOOL, Argument, Option, Verb
from rootless.errors import NotFound, RlError

if TYPE_CHECKING:
    from rootless.cli.table import Options

VERB: Final = Verb(
    "rmi",
    arguments=(Argument("IMAGE", "Names or ids", many=True, complete="image"),),
    options=(
        Option("-f --force", BOOL, "Remove it although a stopped container was made from it; gone is no failure"),
    ),
    examples=(("rl rmi debian:12", "remove a name, and the image with its last name"),),
)


def execute(options: Options) -> int:
    """Remove each image and print what went."""
    from rootless.engine import images

    force = options.flag("force")
    code = 0
    for name in options.arguments:
        try:
            gone = images.remove(name, force=force)
            print("".join(f"{render.printable(line)}\n" for line in gone), end="", flush=True)
        except RlError as error:
            errors.show(error)
            if not (force and isinstance(error, NotFound)):
                code = max(code, error.verb_exit_code)
    return code
