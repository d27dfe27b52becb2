# ruff: noqa: E501 (tables as they are)
"""What is printed: Docker's tables to the letter, and nothing that a terminal would obey."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli import render
from rootless.cli.commands import images, ps
from tests.unit.cli.engine_fakes import ContainerView, ImageView

NOW = 1_700_000_000 * 10**9
MINUTE = 60 * 10**9


def test_ps_is_dockers_table() -> None:
    views = [
        ContainerView(
            "4c01db0b339c" + "0" * 52, "web", "nginx", ("/docker-entrypoint.sh", "nginx"), NOW - 5 * MINUTE,
            "running", started=NOW - 4 * MINUTE,
        ),
        ContainerView(
            "d7886598dbe2" + "0" * 52, "hopeful_curie", "debian:12", ("bash",), NOW - 180 * MINUTE,
            "exited", 137, NOW - 180 * MINUTE, NOW - 2 * MINUTE,
        ),
        ContainerView("0123456789ab" + "0" * 52, "x", "", ("a", 'b"c'), NOW, "created"),
    ]  # fmt: skip
    assert render.table(ps.HEADER, [ps.row(view, NOW, whole=False) for view in views]) == (
        'CONTAINER ID   IMAGE        COMMAND                  CREATED                  STATUS                       PORTS     NAMES\n'
        '4c01db0b339c   nginx        "/docker-entrypoint.…"   5 minutes ago            Up 4 minutes                           web\n'
        'd7886598dbe2   debian:12    "bash"                   3 hours ago              Exited (137) 2 minutes ago             hopeful_curie\n'
        '0123456789ab   <no image>   "a b\\"c"                 Less than a second ago   Created                                x\n'
    )  # fmt: skip


def test_an_empty_table_still_has_its_header() -> None:
    assert render.table(ps.HEADER, []) == ("CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n")


def test_images_is_dockers_classic_table() -> None:
    views = [
        ImageView(
            "docker.io/library/busybox:latest", "busybox", "latest", "sha256:af47096251092caf" + "0" * 48,
            "sha256:" + "1" * 64, NOW - 14 * 24 * 60 * MINUTE, 4_428_000,
        ),
        ImageView("", "", "", "sha256:" + "b" * 64, "", 0, 1016),
    ]  # fmt: skip
    header = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")
    assert render.table(header, [images.row(view, NOW, whole=False, digests=False) for view in views]) == (
        "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\n"
        "busybox      latest    af4709625109   2 weeks ago   4.43MB\n"
        "<none>       <none>    bbbbbbbbbbbb   N/A           1.02kB\n"
    )


@pytest.mark.parametrize("wanted", ["", "busybox", "busybox:1", "library/busybox", "docker.io/library/busybox:1"])
def test_images_can_be_asked_for_by_any_spelling(wanted: str) -> None:
    view = ImageView("docker.io/library/busybox:1", "busybox", "1", "")
    assert images.matches(view, wanted)
    assert not images.matches(view, "busybox:2")


@pytest.mark.parametrize(
    ("words", "cell"),
    [
        (("true",), '"true"'),
        (("/docker-entrypoint.sh", "redis-server"), '"/docker-entrypoint.…"'),
        (("a" * 20,), '"' + "a" * 20 + '"'),
        (("sh", "-c", "\x1b[2J\n"), '"sh -c \\x1b[2J\\n"'),
        (("a\\b",), '"a\\\\b"'),
        ((), '""'),
    ],
)
def test_a_command_is_one_quoted_cell(words: tuple[str, ...], cell: str) -> None:
    assert render.command(words) == cell


def test_no_trunc_shows_the_whole_command() -> None:
    assert render.command(("a" * 30,), whole=True) == '"' + "a" * 30 + '"'


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1016, "1.02kB"),
        (4_428_000, "4.43MB"),
        (188_000_000, "188MB"),
        (999_600, "1MB"),
        (1_093_000_000_000, "1.09TB"),
    ],
)
def test_sizes_have_three_digits_and_no_exponent(count: int, text: str) -> None:
    assert render.size(count) == text


@given(st.text())
def test_nothing_a_terminal_obeys_is_printed(text: str) -> None:
    shown = render.printable(text)
    assert shown.isprintable()
    shown.encode()
    for written in (render.json_text({text: text}), render.json_text([text], indent=4)):
        assert all(character.isprintable() or character == "\n" for character in written)
        written.encode()


_JSON = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(_JSON)
def test_json_says_the_same_as_it_was_given(value: object) -> None:
    assert json.loads(render.json_text(value, indent=4)) == value


def test_json_is_escaped_as_docker_does() -> None:
    assert render.json_text({"a": "<b>&é…"}) == '{"a":"\\u003cb\\u003e\\u0026é…"}'
    assert render.json_text([], indent=4) == "[]"
    assert render.json_text([{"a": [1]}], indent=4) == ('[\n    {\n        "a": [\n            1\n        ]\n    }\n]')


def test_a_status_is_dockers() -> None:
    view = ContainerView("x", "x", started=NOW - MINUTE, finished=NOW - MINUTE, exit_code=1)
    texts = {state: ps.status(view._replace(state=state), NOW) for state in ("running", "paused", "exited", "dead")}
    assert texts == {
        "running": "Up About a minute",
        "paused": "Up About a minute (Paused)",
        "exited": "Exited (1) About a minute ago",
        "dead": "Dead",
    }
