"""Which tests may be skipped where nothing required may be (CI=true), and why."""

from __future__ import annotations

import re
from typing import Final

from tests.support.users import me

#: A skip's reason → why that is right. Each such test runs as another of the three users, or on another machine.
ALWAYS: Final = {
    r"^only on aarch64\b": "this machine is another one",
    r"^only on x86_64\b": "this machine is another one",
    r"^only on Python\b": "another Python runs it",
}
BY_USER: Final = {
    "root": {
        r"^needs an ordinary user\b": "it runs as the ordinary users",
        r"^needs subuid ranges\b": "it runs as the user who has them",
        r"^needs no subuid ranges\b": "it runs as the user who has none",
    },
    "ranges": {
        r"^needs root\b": "it runs as root",
        r"^needs no subuid ranges\b": "it runs as the user who has none",
    },
    "one": {
        r"^needs root\b": "it runs as root",
        r"^needs (an ordinary user with )?(subuid ranges|a line in /etc/subuid)\b": "it runs as the user who has them",
    },
}


def is_allowed(reason: str) -> bool:
    """Tell whether a test may be skipped for ``reason`` by the user who runs it."""
    user = me()
    kind = "root" if user.is_root else "ranges" if user.has_ranges else "one"
    return any(re.search(pattern, reason) for pattern in (*ALWAYS, *BY_USER[kind]))
