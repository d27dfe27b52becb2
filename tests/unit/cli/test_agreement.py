"""Our parser and Typer's, made from one table, understand the same command lines in the same way."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.cli import app, fast, table
from rootless.cli.table import BOOL, INT, LIST, Option, Options, Verb
from rootless.cli.usage import BadValue
from rootless.errors import UsageError

_VERBS = {entry.name: table.load(entry.name).VERB for entry in table.INDEX}


class Recorder:
    """Takes the place of every command."""

    def __init__(self) -> None:
        self.seen: list[Options] = []

    def load(self, verb: str) -> tuple[Verb, app.Execute]:
        return _VERBS[verb], self.execute

    def execute(self, options: Options) -> int:
        self.seen.append(options)
        return 0


_RECORDER = Recorder()
_COMMAND: Any = typer.main.get_command(app.build(_RECORDER.load))


def by_typer(argv: list[str]) -> Options | None:
    """Parse with Typer; None where it refuses."""
    _RECORDER.seen.clear()
    try:
        _COMMAND.main(args=list(argv), prog_name="rl", standalone_mode=False)
    except UsageError:
        return None
    except Exception as error:
        # Typer's own refusals; their classes are private in this version.
        assert type(error).__module__.startswith("typer"), error
        return None
    options = _RECORDER.seen.pop()
    del options.values["verbose"]
    return options


def by_us(argv: list[str]) -> Options | None:
    """Parse with our parser; None where it refuses."""
    verb, *rest = argv
    try:
        return fast.parse(_VERBS[verb], rest)
    except UsageError:
        return None


# No leading "=": after a short flag Docker drops it and Typer keeps it.
_TEXT = st.text(alphabet="ab=:/,.-_1 é", max_size=6).filter(lambda text: not text.startswith("="))
_WORD = st.text(alphabet="abc:/.=-_1", max_size=6)
_NUMBER = st.one_of(st.integers(-99, 99).map(str), st.sampled_from(["x", "", "+4", "1_0", " 1", "٣", "9" * 30]))


def _value(option: Option) -> st.SearchStrategy[str]:
    return _NUMBER if option.kind == INT else _TEXT


@st.composite
def _option_words(draw: st.DrawFn, verb: Verb) -> list[str]:
    option = draw(st.sampled_from(verb.options))
    flag = draw(st.sampled_from(option.flags.split()))
    if option.kind == BOOL:
        if flag.startswith("--"):
            return [flag]
        letters = [f[1:] for o in verb.options for f in o.flags.split() if not f.startswith("--") and o.kind == BOOL]
        return [flag + "".join(draw(st.lists(st.sampled_from(letters), max_size=3)))]
    value = draw(_value(option))
    if draw(st.booleans()):
        return [flag, value]
    if flag.startswith("--"):
        return [f"{flag}={value}"]
    return [flag + value] if value else [flag, value]


@st.composite
def _command_lines(draw: st.DrawFn) -> list[str]:
    verb = draw(st.sampled_from(list(_VERBS.values())))
    argv: list[str] = []
    for _ in range(draw(st.integers(0, 8))):
        choice = draw(st.integers(0, 9))
        if choice < 6 and verb.options:
            argv += draw(_option_words(verb))
        elif choice < 9:
            argv.append(draw(_WORD))
        else:
            argv.append(draw(st.sampled_from(["--", "-", "", "--nothing", "-Z", "--rm", "-it", "-d"])))
    return [verb.name, *(word for word in argv if word not in ("-h", "--help"))]


def _asks_for_help(argv: list[str]) -> bool:
    try:
        fast.parse(_VERBS[argv[0]], argv[1:])
    except fast.HelpWanted:
        return True
    except UsageError:
        pass
    return False


def _is_refused_for_a_number(argv: list[str]) -> bool:
    try:
        fast.parse(_VERBS[argv[0]], argv[1:])
    except BadValue:
        return sum("-t" in word or "--" in word for word in argv) > 1
    except UsageError:
        pass
    return False


def _is_beyond_typer(argv: list[str]) -> bool:
    """Tell whether it uses what only Docker's parser has: ``--flag=false`` and ``-x=value``."""
    verb = _VERBS[argv[0]]
    booleans = {flag for option in verb.options if option.kind == BOOL for flag in option.flags.split()}
    return any(
        word.partition("=")[0] in booleans or (word[:1] == "-" and word[:2] != "--" and "=" in word[2:3] + word[1:2])
        for word in argv
        if "=" in word
    )


@settings(max_examples=400, deadline=None)
@given(_command_lines())
def test_both_parsers_agree(argv: list[str]) -> None:
    if _asks_for_help(argv) or _is_beyond_typer(argv):
        return
    if _is_refused_for_a_number(argv):  # Typer looks at the last of several only
        return
    assert by_us(argv) == by_typer(argv)


@pytest.mark.parametrize(
    "line",
    [
        "run busybox",
        "run -it --rm busybox sh -c ls",
        "run -itd -eA=1 -e B --name x --volume=/a:/b -v c:/d busybox -- -it --rm",
        "run --net host --network none busybox",
        "run -- busybox true",
        "run busybox --foo -x",
        "run --stop-timeout -1 --pull never -h host busybox",
        "exec -it web sh -c 'exit 3'",
        "exec web",
        "ps -aq --no-trunc",
        "ps x",
        "logs web -f --tail 10",
        "logs -fn10 web",
        "stop web -t -1 db",
        "stop -t x web",
        "rm -fv a b c",
        "tag a",
        "tag a b",
        "tag a b c",
        "images --digests busybox",
        "login -u me --password-stdin",
        "kill -s",
        "run --bad busybox",
        "run -itZ busybox",
        "run",
    ],
)
def test_both_parsers_agree_on_what_people_type(line: str) -> None:
    import shlex

    argv = shlex.split(line)
    assert by_us(argv) == by_typer(argv)


def test_every_option_is_understood_by_both() -> None:
    for name, verb in _VERBS.items():
        arguments = [f"a{index}" for index, argument in enumerate(verb.arguments) if argument.required]
        for option in verb.options:
            for flag in option.flags.split():
                words = [flag] if option.kind == BOOL else [flag, "7"]
                ours = by_us([name, *words, *arguments])
                assert ours is not None
                assert ours == by_typer([name, *words, *arguments])
                expected = True if option.kind == BOOL else ("7",) if option.kind == LIST else 7
                assert ours.values[option.key] in (expected, "7")


def test_groups_lead_to_the_same_commands() -> None:
    for name, verb in table.names().items():
        arguments = ["a" for argument in _VERBS[verb].arguments if argument.required]
        seen = by_typer([*name.split(), *arguments])
        assert seen is not None
        assert seen.verb == verb
        if name in table.PRESETS:
            _, key, value = table.PRESETS[name]
            assert seen.values[key] == value


def test_keys_and_flags_are_unique_in_every_verb() -> None:
    for verb in _VERBS.values():
        keys = [option.key for option in verb.options]
        flags = [flag for option in verb.options for flag in option.flags.split()]
        assert len(set(keys)) == len(keys)
        assert len(set(flags)) == len(flags)
        assert "--help" not in flags
