"""Parse a command line from the table, by the rules of Docker's client (pflag), with no library."""

from __future__ import annotations

from rootless.cli import table
from rootless.cli.table import BOOL, INT, LIST, Options
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rootless.cli.table import Option, Value, Verb

# strconv.ParseBool (pflag) takes these and nothing else.
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_MOST_DIGITS = 18


class HelpWanted(Exception):
    """The command line asks for help."""


def parse(verb: Verb, argv: Sequence[str]) -> Options:
    """Parse what follows the verb.

    Raises:
        HelpWanted: there is a --help, or a -h that is no flag of the verb.
        UsageError: in Docker's words, with the nearest match where there is one.
    """
    flags = {flag: option for option in verb.options for flag in option.flags.split()}
    values: dict[str, Value] = {option.key: option.initial for option in verb.options}
    arguments: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            arguments.extend(words)
        elif len(word) > 1 and word[0] == "-":
            given = _long(verb, flags, word, words) if word[1] == "-" else _cluster(verb, flags, word, words)
            for option, text in given:
                _set(verb, values, option, text)
        else:
            arguments.append(word)
            if not verb.interspersed:
                arguments.extend(words)
    check_count(verb, arguments)
    return Options(verb.name, values, tuple(arguments))


def _long(verb: Verb, flags: dict[str, Option], word: str, words: Iterator[str]) -> Iterator[tuple[Option, str]]:
    """Yield the option of ``--name``, ``--name=value`` or ``--name value``."""
    flag, equals, text = word.partition("=")
    option = flags.get(flag)
    if option is None:
        if flag == "--help":
            raise HelpWanted
        from rootless.cli.usage import UnknownFlag

        raise UnknownFlag(verb, flag)
    if not equals:
        text = "true" if option.kind == BOOL else _next(verb, words, flag)
    yield option, text


def _cluster(verb: Verb, flags: dict[str, Option], word: str, words: Iterator[str]) -> Iterator[tuple[Option, str]]:
    """Yield the options of a cluster of short flags: ``-it``, ``-eFOO=1``, ``-t=false``."""
    rest = word[1:]
    while rest:
        letter, rest = rest[0], rest[1:]
        option = flags.get(f"-{letter}")
        if option is None:
            if letter == "h":
                raise HelpWanted
            from rootless.cli.usage import UnknownFlag

            raise UnknownFlag(verb, letter, word)
        if rest.startswith("=") and (option.kind == BOOL or len(rest) > 1):
            text, rest = rest[1:], ""
        elif option.kind == BOOL:
            text = "true"
        elif rest:
            text, rest = rest, ""
        else:
            text = _next(verb, words, letter, word)
        yield option, text


def _next(verb: Verb, words: Iterator[str], flag: str, word: str = "") -> str:
    for text in words:
        return text
    from rootless.cli.usage import FlagNeedsArgument

    raise FlagNeedsArgument(verb, flag, word)


def _set(verb: Verb, values: dict[str, Value], option: Option, text: str) -> None:
    if option.kind == LIST:
        before = values[option.key]
        values[option.key] = (*(before if isinstance(before, tuple) else ()), text)
    else:
        values[option.key] = convert(verb, option, text)


def convert(verb: Verb, option: Option, text: str) -> Value:
    """Return the value that ``text`` means for a single-valued ``option``."""
    if option.kind == BOOL:
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        why = f'strconv.ParseBool: parsing "{text}": invalid syntax'
    elif option.kind == INT:
        digits = text[1:] if text[:1] in ("-", "+") else text
        number = digits.isascii() and digits.isdigit()
        if number and len(digits) <= _MOST_DIGITS:
            return int(text)
        why = f'strconv.ParseInt: parsing "{text}": {"value out of range" if number else "invalid syntax"}'
    else:
        return text
    from rootless.cli.usage import BadValue

    raise BadValue(verb, option, text, why)


def check_count(verb: Verb, arguments: Sequence[str]) -> None:
    """Refuse too few or too many arguments, as Docker words it."""
    least = sum(argument.required for argument in verb.arguments)
    most = None if any(argument.many for argument in verb.arguments) else len(verb.arguments)
    if len(arguments) < least or (most is not None and len(arguments) > most):
        from rootless.cli.usage import ArgumentCount

        raise ArgumentCount(verb, least, most)


def resolve(words: Sequence[str]) -> tuple[str, str, int] | None:
    """Return (name as typed, verb, how many words that took), or None where there is no such verb."""
    known = table.names()
    if words[0] in table.GROUPS and len(words) > 1:
        name = f"{words[0]} {words[1]}"
        return (name, known[name], 2) if name in known else None
    return (words[0], known[words[0]], 1) if words[0] in known else None
