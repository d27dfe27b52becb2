"""The console script: find the verb, parse, call it, turn every failure into a line and an exit code.

Nothing slow is imported here; Typer and rich are loaded for help and completion only.
"""

from __future__ import annotations

import gc
import os
import sys

from rootless.cli import fast, table
from rootless.errors import RlError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, NoReturn

    from rootless.cli.table import Value

_SIGINT_EXIT: Final = 130
_SIGPIPE_EXIT: Final = 141
_HELP: Final = ("-h", "--help")
_COMPLETION: Final = ("--install-completion", "--show-completion")


def entry() -> NoReturn:
    """Run the command line of this process and exit."""
    # Short lives: what is allocated stays in use, and taking an interpreter apart costs as much as a verb.
    gc.disable()
    _fill_standard_descriptors()
    code = main(sys.argv[1:])
    _drop_output_if_broken()
    os._exit(code)


def _fill_standard_descriptors() -> None:
    """Put /dev/null where the caller closed 0, 1 or 2: the next file or socket that we open would be taken for it."""
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; failures are told on stderr."""
    if sys.stdout is not None:
        # Names may hold bytes that are no UTF-8, and not every terminal knows the ellipsis.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    typed = _Typed()
    try:
        code = _run(argv, typed)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except RlError as error:
        return _failed(error, typed.verb)
    except KeyboardInterrupt:
        _drop_output()
        return _SIGINT_EXIT
    except BrokenPipeError:
        _drop_output()
        return _SIGPIPE_EXIT
    except Exception as error:
        return _unexpected(error, typed.verb)


class _Typed:
    """What is known of the command line by the time something fails."""

    verb = ""


def _run(argv: Sequence[str], typed: _Typed) -> int:
    if "_RL_COMPLETE" in os.environ:
        return _app(argv)
    words = list(argv)
    verbose = help_ = False
    # In front of the verb -v means verbose; after `run` it is a volume.
    while words and words[0].startswith("-") and words[0] not in _COMPLETION:
        word = words.pop(0)
        if word == "--version":
            words[:] = ["version", "--short"]
        elif word in ("-v", "--verbose"):
            verbose = True
        elif word in _HELP:
            help_ = True
        else:
            from rootless.cli.usage import UnknownFlag

            raise UnknownFlag(table.RL, word.partition("=")[0])
    if words and words[0] == "help":
        help_ = True
        del words[0]
    if not words or words[0] in _COMPLETION:
        return _app(words or ["--help"])
    if words[0] in table.GROUPS and (len(words) == 1 or words[1] in ("help", *_HELP)):
        return _app([words[0], "--help"])
    found = fast.resolve(words)
    if found is None:
        from rootless.cli.usage import UnknownCommand

        raise UnknownCommand(" ".join(words[:2] if words[0] in table.GROUPS else words[:1]))
    name, typed.verb, length = found
    if help_:
        return _app([*name.split(), "--help"])
    return _call(name, typed.verb, words[length:], verbose=verbose)


def _call(name: str, verb: str, argv: Sequence[str], *, verbose: bool) -> int:
    command = table.load(verb)
    try:
        options = fast.parse(command.VERB, argv)
    except fast.HelpWanted:
        return _app([*name.split(), "--help"])
    values: dict[str, Value] = {**options.values, "verbose": verbose}
    if name in table.PRESETS:
        _, key, value = table.PRESETS[name]
        values[key] = value
    return command.execute(options._replace(values=values))


def _app(argv: Sequence[str]) -> int:
    from rootless.cli import app

    return app.main(argv)


def _failed(error: RlError, verb: str) -> int:
    from rootless.cli import errors

    if os.environ.get("RL_DEBUG"):
        errors.say(errors.traceback_of(error))
    errors.show(error, end="Run 'rl run --help' for more information" if verb == "run" else "")
    _drop_output_if_broken()
    return error.exit_code if verb == "run" else error.verb_exit_code


def _unexpected(error: Exception, verb: str) -> int:
    from rootless.cli import errors

    explained = errors.from_os(error) if isinstance(error, OSError) else None
    if explained is not None:
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
