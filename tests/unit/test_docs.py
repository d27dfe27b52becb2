"""The documentation holds together: links lead somewhere, commands can be parsed, drawings are true."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rootless.cli import fast, table

SOURCE = Path(os.environ.get("RL_TEST_SOURCE") or Path(__file__).parents[2])
MARKDOWN = sorted((*SOURCE.glob("*.md"), *(SOURCE / "docs").rglob("*.md")))
#: Options of other programs that the texts name.
FOREIGN = frozenset(("--add-subuids", "--add-subgids"))
_OUTSIDE_CODE = re.compile(r"^```.*?^```\s*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
_SHELL = ("sh", "console", "yaml")


def names(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def prose(path: Path) -> str:
    return _OUTSIDE_CODE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


@pytest.mark.parametrize("document", MARKDOWN, ids=names)
def test_every_link_within_the_tree_leads_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(document)):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (document.parent / target).resolve() if target else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block, with lines that end in a backslash joined."""
    for language, text in re.findall(r"^ *```(\w*)\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE):
        yield language, re.sub(r"\\\n(> )?", "", text)


def words(line: str) -> list[str]:
    """Split a line of shell into words; operators stand alone, what comes after # is dropped."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.commenters = ""
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # a quotation that goes on in the next line
        return []


def commands(line: str) -> Iterator[list[str]]:
    """Yield the words after each ``rl`` that begins a command."""
    found: list[str] | None = None
    may_begin = True
    for word in (*words(line), ";"):
        operator = bool(word) and not set(word) - set("|&;<>()")
        if found is not None and (operator or word.startswith("#")):
            yield found
            found = None
        elif found is not None:
            found.append(word)
        elif may_begin and word == "rl":
            found = []
        may_begin = operator or (may_begin and ("=" in word or word in ("$", "-", "sudo")))


def lines_of_shell(path: Path) -> Iterator[str]:
    for language, text in blocks(path):
        for line in text.splitlines():
            if language == "console":
                if re.match(r"\$ |\S+# ", line):
                    yield line.partition(" ")[2]
            elif language in _SHELL:
                yield line.strip()


def parse(argv: list[str]) -> None:
    """Parse a command line as rl does.

    Raises:
        RlError: it would refuse it.
    """
    while argv and argv[0] in ("-v", "--verbose"):
        argv = argv[1:]
    if not argv or argv[0] in ("--help", "--version", "help"):
        return
    found = fast.resolve(argv)
    assert found is not None, f"rl has no command {argv[0]!r}"
    name, verb, length = found
    assert name
    try:
        fast.parse(table.load(verb).VERB, argv[length:])
    except fast.HelpWanted:
        return


@pytest.mark.parametrize("document", MARKDOWN, ids=names)
def test_every_command_in_a_block_is_one_that_rl_takes(document: Path) -> None:
    for line in lines_of_shell(document):
        for argv in commands(line):
            parse(argv)


@pytest.mark.parametrize("document", MARKDOWN, ids=names)
def test_every_option_named_in_the_text_exists(document: Path) -> None:
    verbs = (table.RL, *(table.load(name).VERB for name in sorted(set(table.names().values()))))
    known = {flag for verb in verbs for option in verb.options for flag in option.flags.split()} | {"--help"}
    unknown = []
    for code in re.findall(r"`([^`\n]+)`", prose(document)):
        if code.startswith(("rl ", "-")):
            unknown += [
                flag
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)
                if flag not in known and flag not in FOREIGN
            ]
    assert unknown == []


def _layers() -> list[str]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads((SOURCE / "pyproject.toml").read_text())
    (contract,) = (c for c in document["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [str(layer) for layer in contract["layers"]]


def _drawn(text: str) -> Iterator[str]:
    """Yield the layers of the drawing, from the top; one with many names has a line that ends in a bar."""
    (block,) = (block for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if "rootless.cli" in block)
    layer = ""
    for line in block.splitlines():
        layer += line.partition("  ")[0]
        if not layer.endswith("|"):
            yield layer
            layer = ""


def test_the_drawing_of_the_layers_is_the_contract() -> None:
    drawn = _drawn((SOURCE / "docs" / "develop" / "architecture.md").read_text())
    wanted, found = ([set(re.findall(r"[\w.]+", layer)) for layer in layers] for layers in (_layers(), drawn))
    assert found == wanted


def test_every_document_is_in_the_index() -> None:
    """docs/README.md leads to every document, decisions by their directory."""
    index = (SOURCE / "docs" / "README.md").read_text()
    documents = (names(path).removeprefix("docs/") for path in MARKDOWN if path.parent.parent == SOURCE / "docs")
    assert [name for name in documents if f"]({name})" not in index] == []


def test_decisions_are_numbered_without_gaps() -> None:
    found = sorted(path.name for path in (SOURCE / "docs/develop/decisions").glob("*.md"))
    assert [name[:4] for name in found] == [f"{number:04d}" for number in range(1, len(found) + 1)]


def test_nothing_of_the_machine_it_was_written_on_is_in_the_text() -> None:
    pattern = re.compile(r"/home/\w|/root/\.|/opt/|/tmp/(?!rl-)\w|\bTODO\b|\bFIXME\b")
    found = [f"{names(p)}: {hit}" for p in MARKDOWN for hit in pattern.findall(p.read_text())]
    assert found == []
