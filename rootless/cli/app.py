"""Typer's commands, made from the table: help, completion, and a parser to compare ours with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import typer.core

from rootless.cli import completion, fast, table
from rootless.cli.table import BOOL, INT, LIST, Options

if TYPE_CHECKING:
    from rootless.cli.table import Argument, Entry, Option, Value, Verb

#: Called with what was parsed; returns the exit code.
Execute = Callable[[Options], int]

_ABOUT: Final = """Run containers without root: Docker's habits, no daemon, nothing to install for the administrator.

`rl run --rm -it debian bash` is a good beginning; `rl COMMAND --help` tells the rest.
"""
_MARKUP: Final = re.compile(r"(\\*)\[")


def main(argv: Sequence[str]) -> int:
    """Let Typer handle a command line, mostly for help or completion; return the exit code."""
    try:
        typer.main.get_command(build(_load)).main(args=list(argv), prog_name="rl")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    return 0


class _Command(typer.core.TyperCommand):
    """A command whose usage line is Docker's, kept whole in ``options_metavar``."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or ""]


def _load(verb: str) -> tuple[Verb, Execute]:
    command = table.load(verb)
    return command.VERB, command.execute


def build(load: Callable[[str], tuple[Verb, Execute]]) -> typer.Typer:
    """Make the application; ``load`` gives a verb's declaration and what to call."""
    app = typer.Typer(help=_ABOUT, rich_markup_mode="rich", no_args_is_help=True, pretty_exceptions_enable=False)
    groups = {name: typer.Typer(help=summary, no_args_is_help=True) for name, summary in table.GROUPS.items()}
    for entry in table.INDEX:
        verb, execute = load(entry.name)
        _add(app, entry.name, entry, verb, execute)
        for other in entry.also:
            group, _, name = other.partition(" ")
            _add(groups[group], name, entry, verb, execute, hidden=name in ("list", "ps", "remove"))
    for typed, (name, key, value) in table.PRESETS.items():
        group, _, word = typed.partition(" ")
        verb, execute = load(name)
        entry = next(entry for entry in table.INDEX if entry.name == name)
        _add(groups[group], word, entry, verb, _preset(execute, key, value))
    for name, group_app in groups.items():
        app.add_typer(group_app, name=name, rich_help_panel="Groups")
    app.callback()(_front)
    return app


def _preset(execute: Execute, key: str, value: str) -> Execute:
    return lambda options: execute(options._replace(values={**options.values, key: value}))


def _front(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say which ways were chosen, and why.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    pass


def _add(app: typer.Typer, name: str, entry: Entry, verb: Verb, execute: Execute, *, hidden: bool = False) -> None:
    app.command(
        name,
        cls=_Command,
        options_metavar=verb.usage.removeprefix(f"rl {verb.name}").lstrip(),
        help=_help(entry, verb),
        short_help=escape(entry.summary) + ".",
        epilog=_examples(verb),
        context_settings={"allow_interspersed_args": verb.interspersed},
        rich_help_panel=entry.panel,
        hidden=hidden,
    )(_callback(verb, execute))


def _help(entry: Entry, verb: Verb) -> str:
    return f"{escape(entry.summary)}.\n\n{escape(verb.about)}"


def _examples(verb: Verb) -> str:
    return "Examples:\n\n" + "\n\n".join(
        f"  [bold]{escape(line)}[/bold]\n    [dim]{escape(why)}[/dim]" for line, why in verb.examples
    )


def escape(text: str) -> str:
    """Return ``text`` with its brackets safe from Rich's markup."""
    return _MARKUP.sub(r"\1\1\\[", text)


def _callback(verb: Verb, execute: Execute) -> Callable[..., None]:
    def callback(**parsed: Any) -> None:
        arguments: list[str] = []
        for index, argument in enumerate(verb.arguments):
            given = parsed[f"argument{index}"]
            arguments += (given or ()) if argument.many else () if given is None else (given,)
        fast.check_count(verb, arguments)
        values = {option.key: _value(verb, option, parsed[option.key]) for option in verb.options}
        raise typer.Exit(execute(Options(verb.name, {**values, "verbose": False}, tuple(arguments))))

    callback.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_argument(index, argument) for index, argument in enumerate(verb.arguments)]
        + [_option(option) for option in verb.options]
    )
    callback.__annotations__ = {}
    return callback


def _value(verb: Verb, option: Option, given: Any) -> Value:
    if option.kind == BOOL:
        return bool(given)
    if option.kind == LIST:
        return tuple(given or ())
    return option.default if given is None else fast.convert(verb, option, given)


def _option(option: Option) -> inspect.Parameter:
    shown = option.default is not None and option.kind != BOOL
    info = typer.Option(
        *sorted(option.flags.split(), key=lambda flag: not flag.startswith("--")),
        help=f"{escape(option.help)}.",
        metavar=option.metavar or (option.name.upper() if option.kind in (INT, LIST) else None),
        rich_help_panel=option.panel,
        show_default=shown,
        hidden=option.hidden,
    )
    kind: Any = bool if option.kind == BOOL else list[str] if option.kind == LIST else str
    default = option.default if shown or option.kind == BOOL else None
    if option.kind == BOOL:
        default = bool(default)
    return inspect.Parameter(
        option.key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def _argument(index: int, argument: Argument) -> inspect.Parameter:
    ending = " [ARG...]" if argument.name == "COMMAND" else "..."
    info = typer.Argument(
        metavar=f"{argument.name}{ending if argument.many else ''}",
        help=f"{escape(argument.help)}.",
        autocompletion=completion.of(argument.complete),
        show_default=False,
    )
    kind: Any = list[str] if argument.many else str
    required = inspect.Parameter.empty if argument.required else None
    return inspect.Parameter(
        f"argument{index}", inspect.Parameter.KEYWORD_ONLY, default=required, annotation=Annotated[kind, info]
    )
