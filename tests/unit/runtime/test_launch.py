"""What a child says on its status pipe."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.runtime import launch
from rootless.runtime.child import INNER, OUTER
from rootless.runtime.kernel import Channel, Kernel

#: No deadline on a busy machine; no database where the tests may not write.
QUIET = settings(deadline=None, database=None, max_examples=50)


class Told(Exception):
    """Raised in place of the child's end."""


class Speaking(Kernel):
    """A kernel that reports like a child's but survives it."""

    def fail(self, phase: int, index: int, number: int, text: str) -> None:  # type: ignore[override]
        self._say(f"F{phase} {index} {number} {text}\t{self.subject}", 4000)


def spoken(*, pid: int, notes: list[str], subject: str) -> launch.Outcome:
    read, write = os.pipe()
    kernel = Speaking(Channel(write))
    for note in notes:
        kernel.note(note)
    os.write(write, b"P%d\n" % pid)
    kernel.about(subject)
    kernel.fail(INNER, 7, 2, "No such file or directory")
    os.close(write)
    data = b""
    while piece := os.read(read, 1 << 16):
        data += piece
    os.close(read)
    return launch.parse(data, 0)


paths = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=100)


@QUIET
@given(st.lists(paths.map(lambda text: text[:100]), max_size=3), paths)
def test_names_may_have_any_character(notes: list[str], subject: str) -> None:
    """A newline in a name must not look like the next line of the report."""
    outcome = spoken(pid=42, notes=notes, subject=subject)
    assert outcome.pid == 42
    assert outcome.notes == tuple(notes)
    failure = outcome.failure
    assert failure is not None
    assert (failure.phase, failure.index, failure.errno, failure.subject) == (INNER, 7, 2, subject)


def test_a_name_cannot_pose_as_a_pid() -> None:
    assert spoken(pid=42, notes=[], subject="/x\nP1\n").pid == 42


def test_bytes_that_are_no_text_survive() -> None:
    subject = os.fsdecode(b"/\xff\xfe")
    failure = spoken(pid=1, notes=[], subject=subject).failure
    assert failure is not None
    assert failure.subject == subject


def test_silence_and_a_pid_is_success() -> None:
    assert launch.parse(b"P12\n", 0) == launch.Outcome(12, (), None)


def test_silence_alone_is_an_early_end() -> None:
    failure = launch.parse(b"", 9).failure
    assert failure is not None
    assert failure.phase == OUTER
    assert "ended early with -9" in failure.text
