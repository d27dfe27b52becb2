"""``rl version``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rootless.cli import render
from rootless.cli.table import BOOL, STR, Option, Verb

if TYPE_CHECKING:
    from rootless.cli.table import Options

VERB: Final = Verb(
    "version",
    options=(
        Option("-f --format", STR, "Print only this: {{.Version}} or {{json .}}", "TEMPLATE"),
        Option("--short", BOOL, "Print one line", hidden=True),
    ),
    examples=(("rl version -f '{{.Version}}'", "for a script"),),
)


def execute(options: Options) -> int:
    """Print the versions of rl and of what it runs on."""
    from rootless.cli import template
    from rootless.engine import system

    facts = system.version()
    text = options.text("format")
    if text:
        print(template.compile_(text)(facts))
    else:
        print(f"rl version {facts['Version']}" if options.flag("short") else render.outline(facts))
    return 0
