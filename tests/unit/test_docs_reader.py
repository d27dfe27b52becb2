"""The reader of the documentation's examples: what it types, and what it takes for shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import docs
from tests.support.docs import Reader

ID = "3f1c9a0b77d2"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("OK", "OK\n"),
        ("rl version …", "rl version 0.1.0\n"),
        (f"root@{ID}", "root@0123456789ab\n"),
        ("Up 5 seconds", "Up Less than a second\n"),
        ("a    b", "a          b\n"),
        ("first\n…\nlast", "first\nlast\n"),
        ("first\n…\nlast", "first\n1\n2\nlast\n"),
    ],
    ids=["the same", "a wildcard", "another id", "another span", "wider columns", "no line", "two lines"],
)
def test_what_may_differ_is_taken_for_the_same(said: str, shown: str) -> None:
    assert re.fullmatch(docs.pattern(tuple(said.split("\n"))), shown)


@pytest.mark.parametrize(
    ("said", "shown"),
    [("OK", "ok\n"), ("a.b", "axb\n"), (f"id {ID}", "id 0123\n"), ("first\n…\nlast", "first\n")],
    ids=["case", "a dot", "a short id", "a line is missing"],
)
def test_what_differs_is_seen(said: str, shown: str) -> None:
    assert not re.fullmatch(docs.pattern(tuple(said.split("\n"))), shown)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"one\r\ntwo", "one\ntwo"),
        (b"\x1b[?2004h$ \x1b[1mbold\x1b[0m", "$ bold"),
        (b"abc\rx\x1b[K", "x"),
        (b"> p\r> pi\x1b[0K\r\x1b[4C", "> pi"),
        (b"ab\bc", "ac"),
    ],
    ids=["lines", "colours", "erased", "an edited line", "backspace"],
)
def test_a_terminal_is_read_as_a_person_sees_it(raw: bytes, text: str) -> None:
    assert docs.plain(raw) == text


def document(path: Path, text: str) -> Path:
    made = path / "document.md"
    made.write_text(text)
    return made


def test_blocks_are_found_with_what_is_said_about_them(tmp_path: Path) -> None:
    not_run = "```sh\n$ no\n```\n<!-- run: not -->\n```console\n$ no\n```\n"
    text = not_run + "<!-- run: in second as one -->\n```console\n$ a\nb\n```\n"
    (block,) = docs.blocks(document(tmp_path, text))
    assert (block.terminal, block.kinds, block.line) == ("second", {"one"}, 10)
    assert [(typed.prompt, typed.text, typed.shown) for typed in block.typed] == [("$", "a", ("b",))]


def environment() -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def test_examples_are_typed_into_terminals_that_remember(tmp_path: Path) -> None:
    text = """
<!-- run: stays -->
```console
$ greeting=hello; read answer; echo $greeting $answer
```

<!-- run: in second -->
```console
$ echo "[$greeting]" > theirs && cat theirs
[]
```
"""
    with Reader(environment(), str(tmp_path)) as reader:
        assert reader.follow(document(tmp_path, text), "one") == 2


def test_an_example_that_shows_something_else_fails_and_says_where(tmp_path: Path) -> None:
    with Reader(environment(), str(tmp_path), {"here": "there"}) as reader:
        with pytest.raises(AssertionError, match=r"(?s)document\.md:2: expected.*\nno.*shows.*\nthere"):
            reader.follow(document(tmp_path, "```console\n$ echo here\nno\n```\n"), "one")
