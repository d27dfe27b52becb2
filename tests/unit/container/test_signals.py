"""Signals by the names that people type."""

from __future__ import annotations

import signal

import pytest

from rootless.container import signals
from rootless.errors import RlError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("usr1", signal.SIGUSR1),
        ("64", 64),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_names_and_numbers(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "65", "-1", "NOPE", "_DFL", "SIG_IGN", "TERM+1", "RTMIN+99", "RTMIN+x", "RTMIN--1", "RTMAX+1", "٩"],
)
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(RlError, match="invalid signal"):
        signals.number(text)
