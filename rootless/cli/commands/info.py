"""``rl info``: what rl can do on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rootless.cli import render
from rootless.cli.table import STR, Option, Verb

if TYPE_CHECKING:
    from rootless.cli.table import Options

VERB: Final = Verb(
    "info",
    about="For every feature it names the way that is used here and, where a better one exists, what an admin types.",
    options=(Option("-f --format", STR, "Print only this: {{.Storage.Driver}} or {{json .}}", "TEMPLATE"),),
    examples=(("rl info", "read it"), ("rl info -f '{{json .}}'", "for a program")),
)


def execute(options: Options) -> int:
    """Print the facts, indented, or through a template."""
    from rootless.cli import template
    from rootless.engine import system

    facts = system.info()
    text = options.text("format")
    print(template.compile_(text)(facts) if text else render.outline(facts))
    return 0
