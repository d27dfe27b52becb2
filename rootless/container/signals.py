"""Signals by the names that people type."""

from __future__ import annotations

import _signal

from rootless.errors import UsageError


def number(text: str) -> int:
    """Read a signal: a number, or a name with or without SIG.

    Raises:
        UsageError: it is none.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) < 65:
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    found = getattr(_signal, name, None)
    if isinstance(found, int) and not name.startswith("SIG_"):
        return found
    raise UsageError(f"invalid signal: {text}", hint="kill -l lists the signals")
