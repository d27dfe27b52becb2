"""Docker's rules of the command line that Typer does not share, and Docker's complaints."""

from __future__ import annotations

import pytest

from rootless.cli import fast, table
from rootless.cli.table import Options
from rootless.errors import UsageError


def parse(line: str) -> Options:
    verb, *argv = line.split(" ")
    return fast.parse(table.load(verb).VERB, argv)


@pytest.mark.parametrize(("word", "value"), [("--rm=false", False), ("--rm=true", True), ("--rm=0", False)])
def test_a_boolean_takes_a_value_behind_an_equals_sign_only(word: str, value: bool) -> None:
    assert parse(f"run {word} busybox").flag("remove") is value
    assert parse("run --rm false").arguments == ("false",)


def test_the_last_of_several_wins() -> None:
    assert parse("run --rm --rm=false --name a --name b x").values["remove"] is False
    assert parse("run --name a --name b x").text("name") == "b"


def test_a_short_flag_may_have_an_equals_sign() -> None:
    assert parse("run -e=A=1 -i=false -w=/x busybox").texts("env") == ("A=1",)
    assert parse("run -it=false busybox").flag("tty") is False


def test_signals_can_be_kept_from_the_command() -> None:
    assert parse("run --sig-proxy=false x").flag("sig_proxy") is False
    assert parse("run x").flag("sig_proxy") is True


def test_everything_after_the_image_is_the_commands() -> None:
    assert parse("run --rm busybox -- ls -l --rm").arguments == ("busybox", "--", "ls", "-l", "--rm")


def test_run_takes_h_for_the_host_name_and_ps_for_help() -> None:
    assert parse("run -h box busybox").text("hostname") == "box"
    for line in ("ps -h", "run --rm --help x"):
        with pytest.raises(fast.HelpWanted):
            parse(line)


@pytest.mark.parametrize(
    ("line", "message", "hint", "code"),
    [
        ("run --foo busybox", "unknown flag: --foo", None, 125),
        ("run --volum=/x busybox", "unknown flag: --volum", "did you mean --volume?", 125),
        ("run -itx busybox", "unknown shorthand flag: 'x' in -itx", None, 125),
        (
            "run --publish 80 x",
            "unknown flag: --publish",
            "rl run does not offer this flag of Docker's yet",
            125,
        ),
        ("run --name", "flag needs an argument: --name", None, 125),
        ("run -ie", "flag needs an argument: 'e' in -ie", None, 125),
        (
            "run --rm=x y",
            'invalid argument "x" for "--rm" flag: strconv.ParseBool: parsing "x": invalid syntax',
            None,
            125,
        ),
        (
            "stop -t x y",
            'invalid argument "x" for "-t, --timeout, --time" flag: strconv.ParseInt: parsing "x": invalid syntax',
            None,
            125,
        ),
        ("run", "'rl run' requires at least 1 argument", None, 1),
        ("exec web", "'rl exec' requires at least 2 arguments", None, 1),
        ("tag a", "'rl tag' requires 2 arguments", None, 1),
        ("ps a", "'rl ps' accepts no arguments", None, 1),
        ("images a b", "'rl images' requires at most 1 argument", None, 1),
    ],
)
def test_a_wrong_line_is_told_in_dockers_words(line: str, message: str, hint: str | None, code: int) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert caught.value.message == message
    assert caught.value.hint == hint
    assert caught.value.exit_code == caught.value.verb_exit_code == code


def test_the_usage_line_is_dockers() -> None:
    usages = {entry.name: table.load(entry.name).VERB.usage for entry in table.INDEX}
    assert usages["run"] == "rl run [OPTIONS] IMAGE [COMMAND] [ARG...]"
    assert usages["exec"] == "rl exec [OPTIONS] CONTAINER COMMAND [ARG...]"
    assert usages["rm"] == "rl rm [OPTIONS] CONTAINER [CONTAINER...]"
    assert usages["tag"] == "rl tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"
    assert usages["images"] == "rl images [OPTIONS] [REPOSITORY[:TAG]]"
    assert usages["ps"] == "rl ps [OPTIONS]"


def test_every_verb_has_help_and_an_example() -> None:
    for entry in table.INDEX:
        verb = table.load(entry.name).VERB
        assert verb.name == entry.name
        assert verb.examples
        assert all(option.help and not option.help.endswith(".") for option in verb.options)


def test_groups_resolve_to_their_verbs() -> None:
    assert fast.resolve(["container", "run", "x"]) == ("container run", "run", 2)
    assert fast.resolve(["image", "ls"]) == ("image ls", "images", 2)
    assert fast.resolve(["image", "inspect", "x"]) == ("image inspect", "inspect", 2)
    assert fast.resolve(["image", "run"]) is None
    assert fast.resolve(["rn"]) is None
