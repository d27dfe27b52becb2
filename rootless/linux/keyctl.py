"""Kernel keyrings (keyctl(2))."""

from __future__ import annotations

import os

from rootless.linux.libc import syscall
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

_NR_KEYCTL: Final = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, 219)
_JOIN_SESSION_KEYRING: Final = 1  # linux/keyctl.h


def join_new_session_keyring() -> None:
    """Leave the session keyring of whoever started us for a new anonymous one (keyctl_join_session_keyring(3)).

    Raises:
        OSError: EDQUOT - the user's share of keys is used up; ENOSYS, EPERM - there are none here.
    """
    syscall(_NR_KEYCTL, _JOIN_SESSION_KEYRING, None)
