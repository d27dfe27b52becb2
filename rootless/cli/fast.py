"""Parse a command line from the table, by the rules of Docker's client (pflag), with no library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rootless.cli import table
from rootless.cli.errors import ArgumentCount, BadValue, FlagNeedsArgument, UnknownFlag
from rootless.cli.table import BOOL, INT, LIST, Option, Options, Value, Verb

# strconv.ParseBool (pflag) takes these and nothing else.
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class Help(NamedTuple):
    """The command line asks for help on ``verb``."""

    verb: str


def parse(verb: Verb, argv: Sequence[str]) -> Options | Help:
    """Parse what follows the verb.

    Raises:
        UsageError: in Docker's words, with the nearest match where there is one.
    """
    longs, shorts = _flags(verb)
    values: dict[str, Value] = {option.key: option.initial for option in verb.options}
    arguments: list[str] = []
    position = 0
    while position < len(argv):
        word = argv[position]
        position += 1
        if word == "--":
            arguments.extend(argv[position:])
            break
        if len(word) < 2 or word[0] != "-":
            if not verb.interspersed:
                arguments.extend(argv[position - 1 :])
                break
            arguments.append(word)
            continue
        if word.startswith("--"):
            name, equals, text = word[2:].partition("=")
            option = longs.get(name)
            if option is None:
                if name == "help":
                    return Help(verb.name)
                raise UnknownFlag(verb, f"--{name}")
            if not equals and option.kind == BOOL:
                text = "true"
            elif not equals:
                if position == len(argv):
                    raise FlagNeedsArgument(verb, f"--{name}")
                text = argv[position]
                position += 1
            _set(verb, values, option, text)
            continue
        # A cluster of short flags: -it, -eFOO=1, -t=false.
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            option = shorts.get(letter)
            if option is None:
                if letter == "h":
                    return Help(verb.name)
                raise UnknownFlag(verb, letter, word)
            if rest.startswith("=") and (option.kind == BOOL or len(rest) > 1):
                text, rest = rest[1:], ""
            elif option.kind == BOOL:
                text = "true"
            elif rest:
                text, rest = rest, ""
            else:
                if position == len(argv):
                    raise FlagNeedsArgument(verb, letter, word)
                text = argv[position]
                position += 1
            _set(verb, values, option, text)
    check_count(verb, arguments)
    return Options(verb.name, values, tuple(arguments))


def _flags(verb: Verb) -> tuple[dict[str, Option], dict[str, Option]]:
    longs: dict[str, Option] = {}
    shorts: dict[str, Option] = {}
    for option in verb.options:
        for flag in option.flags.split():
            if flag.startswith("--"):
                longs[flag[2:]] = option
            else:
                shorts[flag[1:]] = option
    return longs, shorts


def _set(verb: Verb, values: dict[str, Value], option: Option, text: str) -> None:
    if option.kind == LIST:
        before = values[option.key]
        values[option.key] = (*(before if isinstance(before, tuple) else ()), text)
    else:
        values[option.key] = convert(verb, option, text)


def convert(verb: Verb, option: Option, text: str) -> Value:
    """Return the value that ``text`` means for a single-valued ``option``."""
    if option.kind == BOOL:
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise BadValue(verb, option, text, f'strconv.ParseBool: parsing "{text}": invalid syntax')
    if option.kind == INT:
        digits = text[1:] if text[:1] in ("-", "+") else text
        if not (digits.isascii() and digits.isdigit()):
            raise BadValue(verb, option, text, f'strconv.ParseInt: parsing "{text}": invalid syntax')
        if len(digits) > 18:
            raise BadValue(verb, option, text, f'strconv.ParseInt: parsing "{text}": value out of range')
        return int(text)
    return text


def check_count(verb: Verb, arguments: Sequence[str]) -> None:
    """Refuse too few or too many arguments, as Docker words it."""
    least = sum(argument.required for argument in verb.arguments)
    most = None if any(argument.many for argument in verb.arguments) else len(verb.arguments)
    if least <= len(arguments) and (most is None or len(arguments) <= most):
        return
    raise ArgumentCount(verb, least, most)


def resolve(words: Sequence[str]) -> tuple[str, str, int] | None:
    """Return (name as typed, verb, how many words that took), or None where there is no such verb."""
    known = table.names()
    if words[0] in table.GROUPS and len(words) > 1:
        name = f"{words[0]} {words[1]}"
        return (name, known[name], 2) if name in known else None
    return (words[0], known[words[0]], 1) if words[0] in known else None
