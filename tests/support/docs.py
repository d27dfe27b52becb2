"""Run the examples of the documentation: a ```console block is what a terminal shows, so it is typed into one.

A line that begins with a prompt (``$ ``, ``> ``, ``root@3f1c9a0b77d2:/# ``, ``127.0.0.1:6379> ``) is typed when that
prompt has appeared; what stands between prompts must appear. In expected lines

    …                       is any text within the line; alone on a line, any lines or none
    two spaces or more      are any white space: columns are as wide as they need to be
    12 or 64 hex digits     are any id or digest of that length
    2 years, About a minute are any span of time

A comment in front of a block says what the reader knows and a machine does not:

    <!-- run: in second -->     type into another terminal than ``first``
    <!-- run: stays -->         the last command goes on; its terminal gets the prompt back in a later block
    <!-- run: as ranges one --> only for users of these kinds: root, ranges, one
    <!-- run: not -->           for people only
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from tests.support.screen import Screen

FIRST: Final = "first"
#: Seconds that a command of an example may take: a pull unpacks 200 MB.
PATIENCE: Final = 90.0
#: Seconds without a word behind a prompt, after which nothing more is expected.
_SILENCE: Final = 2.0

_DIRECTIVE: Final = re.compile(r"<!-- run: (.*) -->")
_PROMPT: Final = re.compile(r"(?:\$|>|[\w.-]+@[\w.-]+:\S*[#$]|/\S* #|[\d.]+:\d+>)(?= |$)")
_KINDS: Final = frozenset(("root", "ranges", "one"))
_WILD: Final = re.compile(
    r"(?P<any>…)|(?P<id>\b[0-9a-f]{64}\b|\b(?=[0-9]*[a-f])[0-9a-f]{12}\b)|(?P<span>Less than a second|About an? \w+"
    r"|\b\d+ (?:second|minute|hour|day|week|month|year)s?\b)|(?P<space> {2,})"
)
_SPAN: Final = r"(?:Less than a second|About an? \w+|\d+ \w+?s?)"


class Typed(NamedTuple):
    """What is typed after ``prompt``, and the lines that the terminal shows up to the next prompt."""

    prompt: str
    text: str
    shown: tuple[str, ...]
    line: int


class Block(NamedTuple):
    """One example. ``terminal``: where it is typed; ``kinds``: of which users it is true."""

    line: int
    terminal: str
    stays: bool
    kinds: frozenset[str]
    typed: tuple[Typed, ...]
    shown_first: tuple[str, ...]


def blocks(path: Path) -> tuple[Block, ...]:
    """Read the examples of a document that are to be run."""
    found: list[Block] = []
    directive: list[str] = []
    inside: list[tuple[int, str]] | None = None
    language = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if inside is not None:
            if line.startswith("```"):
                if language == "console" and "not" not in directive:
                    found.append(_block(inside, directive))
                inside, directive = None, []
            else:
                inside.append((number, line))
        elif line.startswith("```"):
            inside, language = [], line[3:].strip()
        elif match := _DIRECTIVE.fullmatch(line):
            directive = match[1].split()
        elif line:
            directive = []
    return tuple(found)


def _block(lines: list[tuple[int, str]], directive: list[str]) -> Block:
    typed: list[Typed] = []
    before: list[str] = []
    for number, line in lines:
        if prompt := _PROMPT.match(line):
            typed.append(Typed(prompt[0], line[prompt.end() + 1 :], (), number))
        elif typed:
            typed[-1] = typed[-1]._replace(shown=(*typed[-1].shown, line))
        else:
            before.append(line)
    kinds = frozenset(_KINDS & set(directive)) if "as" in directive else _KINDS
    terminal = directive[directive.index("in") + 1] if "in" in directive else FIRST
    return Block(lines[0][0], terminal, "stays" in directive, kinds, tuple(typed), tuple(before))


def pattern(lines: tuple[str, ...]) -> str:
    """Return the regular expression of expected lines, each with its newline."""
    return "".join("(?:.*\n)*?" if line.strip() == "…" else f"{_line(line)}[ ]*\n" for line in lines)


def _line(line: str) -> str:
    made, at = "", 0
    for match in _WILD.finditer(line):
        made += re.escape(line[at : match.start()])
        at = match.end()
        if match["any"]:
            made += ".*"
        elif match["id"]:
            made += f"[0-9a-f]{{{len(match['id'])}}}"
        else:
            made += _SPAN if match["span"] else r"\s+"
    return made + re.escape(line[at:].rstrip())


class Terminal(Screen):
    """A shell on a terminal whose text can be read as a person sees it."""

    def __init__(self, env: Mapping[str, str], cwd: str) -> None:
        # A dumb terminal: no colours, no bars of a download, no editing of lines by escape sequences.
        variables = {**env, "TERM": "dumb", "PS1": "$ ", "PS2": "> ", "HISTFILE": "/dev/null"}
        argv = ("bash", "--norc", "--noprofile", "--noediting", "-i")
        super().__init__(argv, env=variables, cwd=cwd, rows=50, columns=250)
        self._read_up_to = 0
        self.busy = False
        self.wait_for(r"", "$", "the shell")

    def wait_for(self, wanted: str, prompt: str, where: str) -> None:
        """Wait until what has appeared matches ``wanted`` and then shows ``prompt``, or no prompt if that is "".

        Raises:
            AssertionError: it does not, with both texts.
        """
        end = f"{_line(prompt)}[ ]?" if prompt else "(?:.*\n)*.*"
        expression = re.compile(wanted + end)
        deadline = time.monotonic() + PATIENCE
        while not expression.fullmatch(text := plain(self.seen)[self._read_up_to :]):
            now = time.monotonic()
            at_prompt = _PROMPT.fullmatch(text.rpartition("\n")[2].rstrip()) and "\n" in text
            going_on = self._read(min(deadline, now + _SILENCE)) or (now < deadline and not at_prompt)
            assert going_on, f"{where}: expected\n{wanted}{end}\nbut the terminal shows\n{text}"
        self.busy = not prompt
        if prompt:
            self._read_up_to += len(text)

    def enter(self, text: str) -> str:
        """Type a line and return the expression that its echo matches."""
        self.line(text)
        return f"{re.escape(text)}[ ]*\n"


def plain(raw: bytes) -> str:
    """Return the text that a terminal shows for ``raw``: lines are overwritten and erased as it does (ECMA-48)."""
    lines: list[list[str]] = [[]]
    column = 0
    text = raw.decode(errors="replace")
    for match in re.finditer(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b.|(.|\n)", text):
        line = lines[-1]
        character = match[3]
        if character == "\n":
            lines.append([])
            column = 0
        elif character == "\r":
            column = 0
        elif character == "\b":
            column = max(0, column - 1)
        elif character is not None:
            if character.isprintable():
                line[column : column + 1] = [character]
                column += 1
        elif match[2] == "K":
            del line[column:]
        elif match[2] == "C":
            column += int(match[1] or 1)
            line += " " * (column - len(line))
    return "\n".join("".join(line) for line in lines)


def like_docker_hub(store: str, view: str) -> None:
    """Make ``view`` a store of docker-registry that shows the images of ``store`` as ``library/NAME``, read-only."""
    there, here = (f"{path}/docker/registry/v2" for path in (store, view))
    os.makedirs(f"{here}/repositories")
    os.symlink(f"{there}/blobs", f"{here}/blobs")
    os.symlink(f"{there}/repositories", f"{here}/repositories/library")


class Reader:
    """Follows a document: types its examples, each into its terminal. ``names``: words of the text → here."""

    def __init__(self, env: Mapping[str, str], cwd: str, names: Mapping[str, str] | None = None) -> None:
        self._env = env
        self._cwd = cwd
        self._names = dict(names or {})
        self._terminals: dict[str, Terminal] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for terminal in self._terminals.values():
            terminal.__exit__()

    def follow(self, path: Path, kind: str) -> int:
        """Run the examples that are for users of this kind; return how many lines were typed.

        Raises:
            AssertionError: one does not show what the document says.
        """
        count = 0
        for block in blocks(path):
            if kind in block.kinds:
                self._run(block, path.name)
                count += len(block.typed)
        return count

    def _run(self, block: Block, document: str) -> None:
        terminal = self._terminals.get(block.terminal)
        if terminal is None:
            terminal = self._terminals[block.terminal] = Terminal(self._env, self._cwd)
        if terminal.busy:
            first = block.typed[0].prompt if block.typed else "$"
            terminal.wait_for(self._pattern(("…", *block.shown_first)), first, f"{document}:{block.line}")
        for number, typed in enumerate(block.typed):
            echo = terminal.enter(self._here(typed.text))
            last = number + 1 == len(block.typed)
            following = ("" if block.stays else "$") if last else block.typed[number + 1].prompt
            terminal.wait_for(echo + self._pattern(typed.shown), following, f"{document}:{typed.line}")

    def _pattern(self, lines: tuple[str, ...]) -> str:
        return pattern(tuple(map(self._here, lines)))

    def _here(self, text: str) -> str:
        for word, meaning in self._names.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", meaning.replace("\\", "\\\\"), text)
        return text
