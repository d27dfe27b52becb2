"""Measure rl beside other tools: the same machine, the same minutes, turn by turn.

    python -m tests.bench [NAME...]         all, or some of: run exec look monitor unpack pull
    python -m tests.bench profile [VERB]    where the time of one command goes: run (the default), exec, ps, logs

An ordinary user with subuid ranges measures the rl that is installed beside this Python. Started as root, a wheel of
this tree is installed as for the tests, and a user of the tests measures; see tests/bench/privileged.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from tests.bench import privileged, setting
from tests.bench.setting import Setting
from tests.support import users

NAMES = ("run", "exec", "look", "monitor", "unpack", "pull")


def main() -> int:
    """Read the words, become somebody ordinary, and run one bench after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=0, metavar="TURNS", help="how often each contestant runs")
    parser.add_argument("--seconds", type=float, default=60, help="how long monitors are watched (default: 60)")
    parser.add_argument("--user", default="rl-test", help="who measures if root starts this (default: rl-test)")
    parser.add_argument("--python", help="measure the rl beside this Python instead of a new wheel (as root)")
    parser.add_argument("--nice", type=int, default=0, help="niceness of all contestants, down to -20 (as root)")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    names = options.names or NAMES
    verbs: tuple[str, ...] = ()
    if names[0] == "profile":
        names, verbs = ("profile",), tuple(names[1:]) or ("run",)
    for name in names:
        if name not in (*NAMES, "profile"):
            parser.error(f"no such bench: {name}")
    if os.getuid() == 0:
        return privileged.start(sys.argv[1:], options.user, options.python, options.nice)
    if reason := users.namespaces_forbidden():
        print(f"no namespaces here: {reason}", file=sys.stderr)
        return 1
    if not users.me().has_ranges:
        print("this user has no subuid ranges, as the other tools need", file=sys.stderr)
        return 1
    if not os.path.exists(f"{os.path.dirname(sys.executable)}/rl"):
        print(f"rl is not installed beside {sys.executable}: it starts slower so", file=sys.stderr)
    for name in names:
        with setting.scratch() as scratch:
            _bench(name)(Setting(options.n, options.seconds, scratch, verbs))
    return 0


def _bench(name: str) -> Callable[[Setting], None]:
    from tests.bench import monitor, profile, pull, run, unpack

    return {
        "run": run.run,
        "exec": run.exec_,
        "look": run.look,
        "monitor": monitor.monitor,
        "unpack": unpack.unpack,
        "pull": pull.pull,
        "profile": profile.profile,
    }[name]


if __name__ == "__main__":
    sys.exit(main())
