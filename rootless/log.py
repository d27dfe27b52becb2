"""What rl tells on standard error besides errors: one line each, never in the way of a container's output."""

from __future__ import annotations

import os


def say(text: str) -> None:
    """Tell the user something that matters now; a closed standard error is no reason to stop."""
    try:
        os.write(2, f"rl: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        return
