"""Run one command to its end and say what it cost: wall time, and the processor time of all that it started."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

#: Seconds in which whatever a command leaves behind (conmon, a clean-up) may end and still be counted.
GRACE = 10.0


class Cost(NamedTuple):
    """Seconds: until the command ended, and of processor in it and in all its descendants, orphans included."""

    wall: float
    cpu: float


class Failed(Exception):
    """The command did not exit with 0."""


def measure(argv: Sequence[str], env: Mapping[str, str], *, log: str = os.devnull) -> Cost:
    """Run ``argv`` in / with its output in ``log``.

    A process of its own is the subreaper (prctl(2)) of what the command leaves and waits for that too.

    Raises:
        Failed: with the end of what it printed, if ``log`` is a file.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_meter(argv, env, log, theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    status, wall, cpu = json.loads(answer)
    if status:
        with open(log, "rb") as file:
            said = file.read()[-2000:].decode(errors="replace")
        raise Failed(f"{' '.join(argv)} exited with {status}\n{said}")
    return Cost(wall, cpu)


def _be_the_meter(argv: Sequence[str], env: Mapping[str, str], log: str, answer: int) -> NoReturn:
    try:
        os.chdir("/")
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        begin = time.monotonic()
        pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsigmask=())
        _, status = os.waitpid(pid, 0)
        wall = time.monotonic() - begin
        _wait_for_orphans()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = json.dumps((os.waitstatus_to_exitcode(status), wall, used.ru_utime + used.ru_stime))
        os.write(answer, said.encode())
    finally:
        os._exit(0)


def _wait_for_orphans() -> None:
    deadline = time.monotonic() + GRACE
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        left = deadline - time.monotonic()
        if pid == 0 and (left <= 0 or signal.sigtimedwait({signal.SIGCHLD}, left) is None):
            return


def processor_time(pid: int) -> float:
    """Return the seconds that a process and its reaped children used so far, in steps of a tick (proc(5))."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def own_processor_time(pid: int) -> float:
    """Return the seconds that a process itself used so far, to the nanosecond (sched-stats)."""
    with open(f"/proc/{pid}/schedstat", "rb") as file:
        return int(file.read().split()[0]) / 1e9
