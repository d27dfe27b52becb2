"""Kill a command at an exact instant: on its n-th change to the file system, or after a while.

strace(1) delivers SIGKILL when the process enters the system call, so the instant can be met again. The
instants are drawn from a seed that is printed; RL_TEST_SEED sets it.
"""

from __future__ import annotations

import functools
import os
import random
import re
import select
import shutil
import subprocess
import tempfile
from typing import Final, NamedTuple

from tests.support.home import Home, Result, Rl

#: Whatever changes a file system; a regular expression, because which of the variants there are depends on the machine.
CHANGES: Final = "/^(rename|mkdir|rmdir|unlink|symlink|link|mknod|write|pwrite|ftruncate|bind|chmod|fchmod|utimensat)"
_LINE: Final = re.compile(r"(?:(?P<pid>\d+) +)?(?P<rest>.*)")
_CALL: Final = re.compile(r"(?P<name>[a-z0-9_]+)\(")


def seed() -> int:
    """Return the seed of this run; each test prints it with what it did."""
    return _seed()


@functools.cache
def _seed() -> int:
    # A change is judged by the same kills as the one before it; whoever looks for more runs the tests by hand.
    given = os.environ.get("RL_TEST_SEED") or ("1" if os.environ.get("CI") == "true" else "")
    return int(given) if given else int.from_bytes(os.urandom(4), "big")


class Call(NamedTuple):
    """The ``number``-th call ``name`` of process ``pid`` (0: the command itself)."""

    pid: int
    name: str
    number: int
    text: str


class Trace(NamedTuple):
    """What strace wrote: the calls of each process in order, and which processes were killed."""

    calls: tuple[Call, ...]
    killed: frozenset[int]

    @classmethod
    def read(cls, path: str) -> Trace:
        counts: dict[tuple[int, str], int] = {}
        calls: list[Call] = []
        killed: set[int] = set()
        first = -1
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                match = _LINE.match(line)
                assert match
                pid = int(match["pid"] or 0)
                first = pid if first < 0 else first
                pid = 0 if pid == first else pid
                if match["rest"].startswith("+++ killed by SIGKILL"):
                    killed.add(pid)
                elif call := _CALL.match(match["rest"]):  # not the second half of an interrupted line
                    name = call["name"]
                    counts[pid, name] = counts.get((pid, name), 0) + 1
                    calls.append(Call(pid, name, counts[pid, name], match["rest"].strip()))
        return cls(tuple(calls), frozenset(killed))

    def last(self, pid: int) -> Call | None:
        """Return the call that a process was in when it ended."""
        return next((call for call in reversed(self.calls) if call.pid == pid), None)

    def within(self, path: str) -> list[Call]:
        """Return the calls that touch something below ``path`` and are not refused."""
        return [call for call in self.calls if path in call.text and "= -1" not in call.text]


class Death(NamedTuple):
    """How a command was killed: ``where`` is for people; ``killed`` and ``in_write`` tell what was met.

    ``processes``: those that were killed by strace, 0 for the command itself.
    """

    where: str
    killed: bool
    in_write: bool
    code: int
    processes: frozenset[int] = frozenset()


def strace() -> str:
    """Return strace's path, or "" where there is none or it is not allowed to trace."""
    return _strace()


@functools.cache
def _strace() -> str:
    found = shutil.which("strace")
    if found is None:
        return ""
    done = subprocess.run((found, "-qq", "-f", "-o", os.devnull, "true"), capture_output=True, check=False)
    return found if done.returncode == 0 else ""


class Fault(NamedTuple):
    """How a command took a system call that failed; ``hit`` is the call, "" where it was not one to the home."""

    where: str
    hit: str
    result: Result


class Killer:
    """Runs ``rl`` in a home and kills it; ``follow`` counts and kills in the processes that it forks, too."""

    def __init__(self, rl: Rl, *, follow: bool = False, changes: str = CHANGES) -> None:
        self.rl = rl
        self.home: Home = rl.home
        self.random = random.Random(seed())
        self._follow = follow
        self._changes = changes

    def trace(self, *arguments: str) -> Trace:
        """Run the command to its end and return what it changed."""
        with tempfile.TemporaryDirectory(dir=self.home.path) as directory:
            log = f"{directory}/trace"
            done = self._run(log, (), arguments)
            assert done.returncode == 0, f"rl {arguments}: {done.returncode}: {done.stderr!r}"
            return Trace.read(log)

    def strike(self, at: Call, *arguments: str) -> Death:
        """Run the command and kill whichever process makes this call as often as ``at`` says."""
        with tempfile.TemporaryDirectory(dir=self.home.path) as directory:
            log = f"{directory}/trace"
            done = self._run(log, ("-e", f"inject={at.name}:signal=KILL:when={at.number}"), arguments)
            trace = Trace.read(log)
        lasts = [call for pid in sorted(trace.killed) if (call := trace.last(pid))]
        if not trace.killed and done.returncode == -9:
            # Without -f strace has the command's own end as its own.
            lasts = [call] if (call := trace.last(0)) else []
        in_write = any(self.home.path in call.text for call in lasts)
        text = "; ".join(f"process {call.pid}: {call.text[:160]}" for call in lasts) or "it came to its end"
        where = f"rl {' '.join(arguments)}, killed in {at.name} number {at.number}: {text}"
        processes = trace.killed or (frozenset((0,)) if lasts else frozenset[int]())
        return Death(where, bool(lasts), in_write, done.returncode, processes)

    def refuse(self, at: Call, error: str, *arguments: str) -> Fault:
        """Run the command and let a call fail with ``error`` (``ENOSPC``) instead of killing the process."""
        with tempfile.TemporaryDirectory(dir=self.home.path) as directory:
            log = f"{directory}/trace"
            done = self._run(log, ("-e", f"inject={at.name}:error={error}:when={at.number}"), arguments)
            with open(log, encoding="utf-8", errors="replace") as f:
                hits = [line.strip() for line in f if "(INJECTED)" in line]
        # Where also what was to be said was refused, nobody can ask what it was.
        hit = hits[0] if hits and all(self.home.path in line for line in hits) else ""
        where = f"rl {' '.join(arguments)}: {error} in {at.name} number {at.number}: {hit[:200]}"
        result = Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        return Fault(where, hit, result)

    def _run(
        self, log: str, injection: tuple[str, ...], arguments: tuple[str, ...]
    ) -> subprocess.CompletedProcess[bytes]:
        following = ("-f",) if self._follow else ()
        command = (
            strace(), "-q", "-y", *following, "-o", log, "-e", f"trace={self._changes}", "-e", "signal=KILL",
            *injection, *self.rl.argv, *arguments,
        )  # fmt: skip
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.home.env,
            cwd=self.home.path,
            timeout=60,
            check=False,
        )

    def after(self, longest: float, *arguments: str) -> Death:
        """Run the command and kill it after a random while of at most ``longest`` seconds."""
        delay = self.random.uniform(0, longest)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = self.rl.start(*arguments, **quiet)
        wait(process.pid, delay)
        process.kill()
        code = process.wait()
        where = f"rl {' '.join(arguments)}, killed after {delay * 1000:.1f} ms"
        return Death(where, code == -9, False, code)


def wait(pid: int, seconds: float) -> bool:
    """Wait until a process has ended, at most so long; tell whether it has."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)
