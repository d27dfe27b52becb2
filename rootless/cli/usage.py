"""What a wrong command line raises, in the words of Docker's client.

The exit code is 125 for a bad flag and 1 for a wrong number of arguments or an unknown command,
whatever the verb.
"""

from __future__ import annotations

from rootless.cli.table import GROUPS, names
from rootless.errors import RlError, UsageError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from rootless.cli.table import Option, Verb

_RUN: Final = (
    "attach a blkio-weight cgroup-parent cgroupns cpu-period cpu-quota cpu-shares c cpus cpuset-cpus cpuset-mems "
    "device dns dns-option dns-search domainname expose gpus group-add health-cmd health-interval health-retries "
    "health-start-period health-timeout ip ip6 ipc isolation label-file link log-driver log-opt mac-address memory m "
    "memory-reservation memory-swap network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit "
    "publish p publish-all P restart runtime shm-size storage-opt sysctl uts volumes-from"
)
#: Docker's flags that are not here yet, by verb: worth a better answer than "unknown".
_NOT_YET: Final = {
    "run": _RUN,
    "create": _RUN,
    "ps": "filter f format last n latest l size s",
    "images": "filter f format tree",
    "pull": "all-tags a",
    "logs": "details",
    "inspect": "size s",
    "rm": "link l",
    "rmi": "no-prune platform",
}


def footer(verb: Verb) -> str:
    """Return the lines that end a complaint about the command line."""
    return f"Usage:  {verb.usage}\n\nRun '{' '.join(('rl', *verb.name.split()))} --help' for more information"


class FlagError(UsageError):
    """A flag is unknown or its value is wrong."""

    def __init__(self, verb: Verb, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.footer = footer(verb)


class UnknownFlag(FlagError):
    """There is no such flag: ``--name``, or a letter of a cluster ``word``."""

    def __init__(self, verb: Verb, flag: str, word: str = "") -> None:
        message = f"unknown shorthand flag: {flag!r} in {word}" if word else f"unknown flag: {flag}"
        if flag.lstrip("-") in _NOT_YET.get(verb.name, "").split():
            hint: str | None = f"rl {verb.name} does not offer this flag of Docker's yet"
        else:
            known = [name for option in verb.options for name in option.flags.split() if name.startswith("--")]
            hint = None if word else _nearest(flag, [*known, "--help"])
        super().__init__(verb, message, hint=hint)


class FlagNeedsArgument(FlagError):
    """The command line ends where a flag's value should be."""

    def __init__(self, verb: Verb, flag: str, word: str = "") -> None:
        where = f"{flag!r} in {word}" if word else flag
        super().__init__(verb, f"flag needs an argument: {where}")


class BadValue(FlagError):
    """The value of a flag cannot be understood."""

    def __init__(self, verb: Verb, option: Option, text: str, why: str) -> None:
        flags = ", ".join(option.flags.split())
        super().__init__(verb, f'invalid argument "{text}" for "{flags}" flag: {why}')


class ArgumentCount(UsageError):
    """Too few arguments, or too many."""

    exit_code = 1
    verb_exit_code = 1

    def __init__(self, verb: Verb, least: int, most: int | None) -> None:
        if most == 0:
            need = "accepts no arguments"
        elif most is None:
            need = f"requires at least {_arguments(least)}"
        elif least == most:
            need = f"requires {_arguments(least)}"
        elif least == 0:
            need = f"requires at most {_arguments(most)}"
        else:
            need = f"requires at least {least} and at most {_arguments(most)}"
        super().__init__(f"'rl {verb.name}' {need}")
        self.footer = footer(verb)


class UnknownCommand(UsageError):
    """There is no such verb."""

    exit_code = 1
    verb_exit_code = 1

    def __init__(self, typed: str) -> None:
        hint = _nearest(typed, [name for name in (*names(), *GROUPS) if name.count(" ") == typed.count(" ")])
        super().__init__(f"unknown command: rl {typed}", hint=hint)
        self.footer = "Run 'rl --help' for more information"


class ClientError(RlError):
    """Something that only the client can see is wrong; Docker's client exits with 1 for every verb."""

    exit_code = 1


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"


def _nearest(typed: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    by_word = {name.lstrip("-"): name for name in known}
    matches = get_close_matches(typed.lstrip("-"), by_word, n=1, cutoff=0.6)
    return f"did you mean {by_word[matches[0]]}?" if matches else None
