"""Write docs/reference/cli.md from the table of options that the command line itself is parsed by.

    python docs/generate.py

A test compares the file with what this makes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from rootless.cli import table
from rootless.cli.table import BOOL, Argument, Entry, Option, Verb

TARGET: Final = Path(__file__).parent / "reference" / "cli.md"

_HEAD: Final = """\
# Commands and options

<!-- Made by docs/generate.py from the table of options; changes here are lost. -->

`rl [-v] COMMAND ...`; `rl COMMAND --help` prints the same. The rules are Docker's:

- Options end at the first argument of `run`, `create` and `exec`: what follows belongs to the container.
- `--name web` and `--name=web` are the same. Short options cluster: `-itd`. A switch is turned off with `=`:
  `--sig-proxy=false`.
- An option marked *repeat* may be given several times.
- Containers are named by their name, their id, or the beginning of the id if no other id begins so.
- In front of the command `-v` (`--verbose`) says which ways were chosen and why; `--version` prints the version.

Exit codes are in [exit-codes.md](exit-codes.md), environment variables in [configuration.md](configuration.md).
"""


def reference() -> str:
    """Return the whole document."""
    panels: dict[str, list[Entry]] = {}
    for entry in table.INDEX:
        panels.setdefault(entry.panel, []).append(entry)
    parts = [_HEAD]
    for panel, entries in panels.items():
        rows = [f"| [`rl {entry.name}`](#rl-{entry.name}) | {entry.summary} |" for entry in entries]
        parts.append("\n".join((f"## {panel}", "", "| | |", "|---|---|", *rows, "")))
    parts += [_verb(entry, table.load(entry.name).VERB) for entry in table.INDEX]
    return "\n".join(parts)


def _verb(entry: Entry, verb: Verb) -> str:
    lines = [f"## rl {entry.name}", "", "```text", verb.usage, "```", "", f"{entry.summary}."]
    if verb.about:
        lines[-1] += f" {verb.about}"
    also = [f"`rl {name}`" for name in _also(entry)]
    if also:
        lines += ["", f"Also: {', '.join(also)}"]
    if verb.arguments:
        lines += ["", "| argument | |", "|---|---|", *map(_argument, verb.arguments)]
    panels: dict[str, list[Option]] = {}
    for option in verb.options:
        if not option.hidden:
            panels.setdefault(option.panel, []).append(option)
    for panel, options in panels.items():
        lines += ["", f"| {panel} | |", "|---|---|", *map(_option, options)]
    if verb.examples:
        lines += ["", "```sh", *(f"{line}  # {why}" for line, why in verb.examples), "```"]
    return "\n".join((*lines, ""))


def _also(entry: Entry) -> tuple[str, ...]:
    return (*entry.also, *(typed for typed, (name, _, _) in table.PRESETS.items() if name == entry.name))


def _argument(argument: Argument) -> str:
    marks = [word for word, is_so in (("optional", not argument.required), ("repeat", argument.many)) if is_so]
    return f"| `{argument.name}` | {_cell(argument.help)}{_marks(marks)} |"


def _option(option: Option) -> str:
    flags = ", ".join(f"`{flag}`" for flag in option.flags.split())
    value = "" if option.kind == BOOL else f" `{_cell(option.metavar or option.kind.upper())}`"
    marks = ["repeat"] if option.kind == table.LIST else []
    if option.default not in (None, False):
        marks.append(f"default `{'true' if option.default is True else option.default}`")
    return f"| {flags}{value} | {_cell(option.help)}{_marks(marks)} |"


def _marks(marks: list[str]) -> str:
    return f" (*{', '.join(marks)}*)" if marks else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(__doc__)
    TARGET.write_text(reference())
