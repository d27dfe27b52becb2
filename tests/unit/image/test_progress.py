"""Pipes get Docker's lines, terminals bars."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from rootless.image import progress
from rootless.image.progress import Phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_counters_are_for_terminals_only() -> None:
    out = io.StringIO()
    shown = progress.choose(out)
    for phase in (Phase.FS_LAYER, Phase.DOWNLOADING, Phase.DOWNLOADED, Phase.EXTRACTING, Phase.COMPLETE):
        shown.phase("abc", phase)
        shown.bytes("abc", 1, 2)
    shown.close()
    assert out.getvalue() == "abc: Pulling fs layer\nabc: Download complete\nabc: Pull complete\n"


def test_quiet_says_nothing() -> None:
    out = io.StringIO()
    shown = progress.choose(out, quiet=True)
    shown.line("x")
    shown.phase("abc", Phase.COMPLETE)
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    shown = progress.choose(out)
    shown.line("latest: Pulling from [bold]app")
    for layer in ("aaa", "bbb"):
        shown.phase(layer, Phase.FS_LAYER)
    shown.phase("aaa", Phase.DOWNLOADING)
    shown.bytes("aaa", 500, 1000)
    shown.phase("aaa", Phase.COMPLETE)
    shown.phase("bbb", Phase.EXISTS)
    shown.close()
    text = out.getvalue()
    assert "latest: Pulling from [bold]app" in text
    assert "aaa: Pull complete" in text
    assert "bbb: Already exists" in text


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress.choose(Terminal()), progress.Lines)


def test_rich_is_loaded_for_a_terminal_only() -> None:
    code = (
        "import json, sys; from rootless.image import progress, local, pull\n"
        "progress.choose(sys.stdout).line('x')\n"
        "print(json.dumps(sorted(m for m in ('rich', 'requests', 'typer') if m in sys.modules)))\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
