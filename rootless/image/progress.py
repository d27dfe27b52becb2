"""What people see of a pull: Docker's plain lines, a bar per layer on a terminal, or nothing."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

_BARS_EVERY = 0.1  # seconds


class Phase(enum.Enum):
    """How far a layer is; the values are Docker's words."""

    WAITING = "Waiting"
    FS_LAYER = "Pulling fs layer"
    DOWNLOADING = "Downloading"
    VERIFYING = "Verifying Checksum"
    DOWNLOADED = "Download complete"
    EXTRACTING = "Extracting"
    COMPLETE = "Pull complete"
    EXISTS = "Already exists"


class Progress(Protocol):
    """Who shows a pull; called by the coordinator's only thread."""

    def line(self, text: str) -> None:
        """Show a sentence."""
        ...

    def phase(self, layer: str, phase: Phase) -> None:
        """Layer ``layer``, the first 12 digits of its digest, has come to ``phase``."""
        ...

    def bytes(self, layer: str, done: int, total: int) -> None:
        """So much of the layer's blob has been read."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class Quiet:
    """Shows nothing."""

    def line(self, text: str) -> None:
        pass

    def phase(self, layer: str, phase: Phase) -> None:
        pass

    def bytes(self, layer: str, done: int, total: int) -> None:
        pass

    def close(self) -> None:
        pass


class Lines:
    """Docker's lines for pipes and logs: each phase that ends something, and no counters."""

    _HIDDEN = frozenset((Phase.DOWNLOADING, Phase.EXTRACTING))

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def line(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def phase(self, layer: str, phase: Phase) -> None:
        if phase not in self._HIDDEN:
            self.line(f"{layer}: {phase.value}")

    def bytes(self, layer: str, done: int, total: int) -> None:
        pass

    def close(self) -> None:
        pass


class Bars:
    """One line per layer, redrawn in place."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn("{task.fields[layer]}: {task.description}"),
            BarColumn(bar_width=40),
            DownloadColumn(),
            console=Console(file=out, highlight=False, soft_wrap=True),
            auto_refresh=False,  # no thread: the coordinator forks
        )
        self._tasks: dict[str, TaskID] = {}
        self._drawn = 0.0

    def line(self, text: str) -> None:
        self._progress.console.print(text, markup=False)

    def phase(self, layer: str, phase: Phase) -> None:
        if not self._tasks:
            self._progress.start()
        if layer not in self._tasks:
            self._tasks[layer] = self._progress.add_task(phase.value, total=None, layer=layer)
        ended = phase in (Phase.COMPLETE, Phase.EXISTS)
        self._progress.update(self._tasks[layer], description=phase.value, visible=True)
        if ended:
            task = self._tasks[layer]
            total = self._progress.tasks[self._progress.task_ids.index(task)].total or 1
            self._progress.update(task, total=total, completed=total)
        self._draw(now=ended)

    def bytes(self, layer: str, done: int, total: int) -> None:
        if layer in self._tasks:
            self._progress.update(self._tasks[layer], completed=done, total=total or 1)
            self._draw(now=False)

    def close(self) -> None:
        if self._tasks:
            self._progress.refresh()
            self._progress.stop()
            self._tasks.clear()

    def _draw(self, *, now: bool) -> None:
        import time

        if now or time.monotonic() - self._drawn >= _BARS_EVERY:
            self._drawn = time.monotonic()
            self._progress.refresh()


def choose(out: TextIO, *, quiet: bool = False) -> Progress:
    """Return what suits ``out``; rich is loaded only for a terminal."""
    if quiet:
        return Quiet()
    return Bars(out) if _is_terminal(out) else Lines(out)


def _is_terminal(out: TextIO) -> bool:
    import os

    return out.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")


def short(encoded: str) -> str:
    """Return the part of a digest that people see."""
    return encoded[:12]


def announce(progress: Progress, layers: Sequence[str], present: frozenset[str]) -> None:
    """Show every layer once, in the image's order."""
    for layer in layers:
        progress.phase(layer, Phase.EXISTS if layer in present else Phase.FS_LAYER)
