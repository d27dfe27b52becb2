"""The console script: find the verb, parse, call it, turn every failure into a line and an exit code.

Nothing slow is imported here; Typer and rich are loaded for help and completion only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from rootless.cli import fast, table
from rootless.cli.table import Options, Value
from rootless.errors import RlError

_SIGINT_EXIT = 130
_SIGPIPE_EXIT = 141


def entry() -> NoReturn:
    """Run the command line of this process and exit."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; failures are told on stderr."""
    verb = ""
    if sys.stdout is not None:
        # Names may hold bytes that are no UTF-8, and not every terminal knows the ellipsis.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if "_RL_COMPLETE" in os.environ:
            return _app(argv)
        front = _front(argv)
        words = argv[front.length :]
        if front.version:
            words = ["version", "--short"]
        if words and words[0] == "help":
            front, words = front._replace(help=True), words[1:]
        if not words or (words[0] in table.GROUPS and _is_help(words[1:])):
            return _app([*words[:1], "--help"])
        if words[0] in ("--install-completion", "--show-completion"):
            return _app(words)
        found = fast.resolve(words)
        if found is None:
            from rootless.cli.errors import UnknownCommand

            raise UnknownCommand(" ".join(words[:2] if words[0] in table.GROUPS else words[:1]))
        name, verb, length = found
        if front.help:
            return _app([*name.split(), "--help"])
        code = _call(name, verb, words[length:], verbose=front.verbose)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except RlError as error:
        return _failed(error, verb)
    except KeyboardInterrupt:
        _drop_output()
        return _SIGINT_EXIT
    except BrokenPipeError:
        _drop_output()
        return _SIGPIPE_EXIT
    except Exception as error:
        return _unexpected(error, verb)


def _call(name: str, verb: str, argv: Sequence[str], *, verbose: bool) -> int:
    command = table.load(verb)
    options = fast.parse(command.VERB, argv)
    if not isinstance(options, Options):
        return _app([*name.split(), "--help"])
    values: dict[str, Value] = {**options.values, "verbose": verbose}
    if name in table.PRESETS:
        _, key, value = table.PRESETS[name]
        values[key] = value
    return command.execute(options._replace(values=values))


class _Front(NamedTuple):
    """The options in front of the verb; ``length`` is how many words they took."""

    length: int
    verbose: bool = False
    help: bool = False
    version: bool = False


def _front(argv: Sequence[str]) -> _Front:
    # Here -v means verbose; after `run` it is a volume.
    front = _Front(0)
    for word in argv:
        if not word.startswith("-") or word == "-":
            break
        front = front._replace(length=front.length + 1)
        if word in ("-v", "--verbose"):
            front = front._replace(verbose=True)
        elif word in ("-h", "--help"):
            front = front._replace(help=True)
        elif word == "--version":
            front = front._replace(version=True)
        elif word in ("--install-completion", "--show-completion"):
            return front._replace(length=front.length - 1, help=False)
        else:
            from rootless.cli.errors import UnknownFlag

            raise UnknownFlag(_GLOBAL, word.partition("=")[0])
    return front


_GLOBAL = table.Verb(
    "",
    arguments=(table.Argument("COMMAND", ""),),
    options=(
        table.Option("-v --verbose", table.BOOL, "Say which ways were chosen, and why"),
        table.Option("--version", table.BOOL, "Print the version"),
    ),
)


def _is_help(words: Sequence[str]) -> bool:
    return not words or words[0] in ("help", "-h", "--help")


def _app(argv: Sequence[str]) -> int:
    from rootless.cli import app

    return app.main(argv)


def _failed(error: RlError, verb: str) -> int:
    from rootless.cli import errors

    if os.environ.get("RL_DEBUG"):
        from traceback import format_exception

        errors.say("".join(format_exception(error)))
    errors.show(error, end="Run 'rl run --help' for more information" if verb == "run" else "")
    _drop_output_if_broken()
    return error.exit_code if verb == "run" else error.verb_exit_code


def _unexpected(error: Exception, verb: str) -> int:
    from rootless.cli import errors

    if isinstance(error, OSError):
        explained = errors.from_os(error)
        if explained is not None:
            _drop_output_if_broken()
            return _failed(explained, verb)
    errors.bug(error, verb)
    _drop_output_if_broken()
    return 125 if verb == "run" else 1


def _drop_output_if_broken() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        _drop_output()


def _drop_output() -> None:
    """Send what is left in stdout's buffer nowhere, so that the interpreter's last flush says nothing."""
    try:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, 1)
        os.close(null)
    except OSError:
        pass
