"""Signals by the names that people type."""

from __future__ import annotations

import _signal

from rootless.errors import RlError


def number(text: str) -> int:
    """Read a signal: a number, or a name with or without SIG, also as ``RTMIN+3``.

    Raises:
        RlError: it is none.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) < 65:
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    base, sign, offset = name.replace("-", "+-").partition("+")
    found = getattr(_signal, base, None)
    if isinstance(found, int) and not name.startswith("SIG_"):
        if not sign:
            return found
        if base in ("SIGRTMIN", "SIGRTMAX") and offset.removeprefix("-").isdigit():
            wanted = found + int(offset)
            if _signal.SIGRTMIN <= wanted <= _signal.SIGRTMAX:
                return wanted
    raise RlError(f"invalid signal: {text}", hint="kill -l lists the signals")
