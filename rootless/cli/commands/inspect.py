"""``rl inspect``: show everything about containers or images as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rootless.cli import errors, render
from rootless.cli.table import STR, Argument, Option, Verb
from rootless.cli.values import choice
from rootless.errors import NotFound

if TYPE_CHECKING:
    from rootless.cli.table import Options

VERB: Final = Verb(
    "inspect",
    arguments=(Argument("NAME", "Names or ids of containers or images", many=True, complete="any"),),
    options=(
        Option("-f --format", STR, "Print only this: {{.State.Status}} or {{json .Config}}", "TEMPLATE"),
        Option("--type", STR, "Look only for a container or an image", "TYPE", default="any"),
    ),
    examples=(
        ("rl inspect web", "all there is to know"),
        ("rl inspect -f '{{.State.Status}} {{.State.ExitCode}}' web", "two facts, for a script"),
    ),
)


def execute(options: Options) -> int:
    """Print what was found as one JSON array, or through a template; then what was not found."""
    from rootless.cli import template

    kind = choice("type", options.text("type") or "any", ("any", "container", "image"))
    text = options.text("format")
    write = template.compile_(text) if text else None
    found = []
    missing = []
    for name in options.arguments:
        thing = look(name, kind)
        if thing is None:
            missing.append(name)
        else:
            found.append(thing)
    lines = [write(thing) for thing in found] if write else [render.json_text(found, indent=4)]
    print("".join(f"{line}\n" for line in lines), end="")
    for name in missing:
        errors.say(f"Error: No such {'object' if kind == 'any' else kind}: {render.printable(name)}")
    return 1 if missing else 0


def look(name: str, kind: str) -> dict[str, Any] | None:
    """Return what is known of a container or an image of that name, or None where there is none."""
    from rootless.engine import containers, images

    if kind != "image":
        try:
            return containers.inspect(name)
        except NotFound:
            pass
    if kind != "container":
        try:
            return images.inspect(name)
        except NotFound:
            pass
    return None
