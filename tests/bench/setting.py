"""What every bench is given: who measures how often, where, and rl in a home of its own."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support import users
from tests.support.home import Home, Rl

#: Names a descriptor of the process that started us as root and reads for us what only root may (see `__main__`).
READER = "RL_BENCH_READER"


class Setting(NamedTuple):
    """``turns``: how often each contestant runs (0: as the bench thinks right). ``scratch`` is removed at the end."""

    turns: int
    seconds: float
    scratch: str
    words: tuple[str, ...] = ()


@contextmanager
def scratch() -> Iterator[str]:
    """Make a directory beside those of the tests' homes, on a disk."""
    path = tempfile.mkdtemp(prefix="rl-bench-", dir=os.environ.get("RL_TEST_TMP", "/var/tmp"))
    try:
        yield path
    finally:
        users.remove_tree(path)


@contextmanager
def installed(*trusted: str) -> Iterator[Rl]:
    """Give the installed rl in a home that speaks plain HTTP to the hosts ``trusted``."""
    home = Home()
    try:
        home.configure(insecure_registries=list(trusted))
        yield Rl(home)
    finally:
        home.remove()


def memory(pid: int) -> int | None:
    """Return the proportional set size of a process in bytes (smaps_rollup), None where we may not know.

    A process that has entered a user namespace can only be looked into by root.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            text = file.read()
    except PermissionError:
        if READER not in os.environ:
            return None
        with socket.socket(fileno=os.dup(int(os.environ[READER]))) as reader:
            reader.sendall(str(pid).encode())
            text = reader.recv(65536).decode()
    sizes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")]
    return sizes[0] * 1024 if sizes else None


def say_missing(reason: str) -> None:
    print(f"  not compared: {reason}")


def which(program: str) -> str | None:
    return shutil.which(program)
