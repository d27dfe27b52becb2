"""Where the time of one command goes: floors, imports, the phases of every process, system calls."""

from __future__ import annotations

import collections
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tests.bench import contest
from tests.bench.run import NETWORK, World, world
from tests.bench.setting import Setting

#: System calls that mark a phase. Not with --seccomp-bpf: it sets no_new_privs, with which other id maps are chosen.
_PHASES: Final = (
    "execve,clone,clone3,fork,vfork,unshare,setns,mount,umount2,pivot_root,setsid,socketpair,connect,sendmsg,wait4,"
    "rename,mkdir,rmdir,fsync,fdatasync,syncfs,flock,exit_group,seccomp,poll,ppoll,epoll_wait"
)
_IMPORT_ALL: Final = """\
import sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError:
        pass  # sitecustomize and the like, tried by site
"""
_IMPORT: Final = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")
_LINE: Final = re.compile(r"(?:\[pid\s+)?(\d+)?\]?\s*(\d+\.\d+) (\w+)\((.*)")


class Event(NamedTuple):
    """A traced system call: when, in seconds, by whom, what."""

    time: float
    pid: str
    call: str
    rest: str


def profile(given: Setting) -> None:
    """Print the profile of each verb in ``given.words``."""
    with world(given.scratch) as here:
        here.start("waiting")
        for verb in given.words:
            words = {
                "run": ("run", "--rm", *NETWORK, here.name, "true"),
                "exec": ("exec", "waiting", "true"),
                "logs": ("logs", "waiting"),
            }.get(verb, (verb,))
            argv = (*here.rl.argv, *words)
            print(f"\n==== rl {' '.join(words)}")
            _floors(given, here, argv)
            _imports(argv, here.rl.home.env)
            _phases(argv, here.rl.home.env, given.scratch)
            _calls(argv, here.rl.home.env, given.scratch)


def _floors(given: Setting, here: World, argv: tuple[str, ...]) -> None:
    """Measure what no change of ours can go below, beside the command itself."""
    env = here.rl.home.env
    python = sys.executable
    commands = {
        "the command": argv,
        "python -I -S -c pass": (python, "-I", "-S", "-c", "pass"),
        "python -c pass": (python, "-c", "pass"),
        "rl --version": (*here.rl.argv, "--version"),
        "the command's imports": (python, "-c", _IMPORT_ALL, *_modules(argv, env)),
    }
    contestants = [contest.always(name, command, env) for name, command in commands.items()]
    contest.show("floors", contest.run(contestants, given.turns or 11, given.scratch))


def _modules(argv: tuple[str, ...], env: Mapping[str, str]) -> list[str]:
    """Return the names that the command imports, in order."""
    return [name for name, _, _ in _import_times(argv, env) if not name.startswith(("_frozen", "encodings", "__"))]


def _import_times(argv: tuple[str, ...], env: Mapping[str, str]) -> list[tuple[str, int, int]]:
    """Return (module, own microseconds, depth); the processes forked later say theirs too, once each."""
    program = argv if argv[0] == sys.executable else (sys.executable, *argv)
    done = subprocess.run(
        (program[0], "-X", "importtime", *program[1:]),
        env=env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    found = (_IMPORT.search(line) for line in done.stderr.splitlines())
    return [(m[4], int(m[1]), len(m[3]) // 2) for m in found if m]


def _imports(argv: tuple[str, ...], env: Mapping[str, str]) -> None:
    runs = [_import_times(argv, env) for _ in range(5)]
    times: dict[str, list[int]] = collections.defaultdict(list)
    for run in runs:
        for name, own, _ in run:
            times[name].append(own)
    own = {name: statistics.median(values) / 1e3 for name, values in times.items()}
    print(f"\nimports: {len(own)} modules, {sum(own.values()):.1f} ms under -X importtime (medians of {len(runs)})")
    packages: dict[str, list[float]] = collections.defaultdict(list)
    for name, value in own.items():
        packages[_package(name)].append(value)
    for package, values in sorted(packages.items(), key=lambda item: -sum(item[1])):
        print(f"  {sum(values):7.2f} ms  {len(values):3} in {package}")
    print("the slowest by themselves:")
    for name, value in sorted(own.items(), key=lambda item: -item[1])[:25]:
        print(f"  {value:7.2f} ms  {name}")


def _package(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "rootless":
        return ".".join(parts[:2])
    return parts[0] if parts[0] in ("fs", "idmap") else "the standard library"


def _trace(options: Sequence[str], argv: tuple[str, ...], env: Mapping[str, str], scratch: str) -> list[Event]:
    """Return the traced calls of the command and of all that it forked."""
    path = f"{scratch}/trace"
    subprocess.run(
        ("strace", "-f", "-ttt", "-s", "60", "-o", path, *options, *argv),
        env=env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    with open(path, errors="replace") as file:
        lines = [_LINE.match(line) for line in file]
    return [Event(float(m[2]), m[1] or "", m[3], m[4].rstrip()) for m in lines if m]


def _phases(argv: tuple[str, ...], env: Mapping[str, str], scratch: str) -> None:
    events = _trace(("-e", f"trace={_PHASES}"), argv, env, scratch)
    begin = events[0].time
    names = {pid: chr(ord("A") + number) for number, pid in enumerate(dict.fromkeys(e.pid for e in events))}
    print("\nphases (strace at the calls that mark them; ms since the start, ms since the process's last; A is rl)")
    last: dict[str, float] = {}
    for event in events:
        since = event.time - last.get(event.pid, event.time)
        last[event.pid] = event.time
        column = "  " * (ord(names[event.pid]) - ord("A"))
        what = f"{names[event.pid]} {event.call}({event.rest[:90]}"
        print(f"  {(event.time - begin) * 1e3:7.2f} {since * 1e3:7.2f}  {column}{what}")


def _calls(argv: tuple[str, ...], env: Mapping[str, str], scratch: str) -> None:
    events = _trace((), argv, env, scratch)
    print(f"\nsystem calls: {len(events)}")
    by_process: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for event in events:
        by_process[event.pid][event.call] += 1
    for number, counts in enumerate(by_process.values()):
        shown = ", ".join(f"{name} {count}" for name, count in counts.most_common(14))
        print(f"  {chr(ord('A') + number)} {sum(counts.values()):5}: {shown}")
