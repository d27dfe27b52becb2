"""What it costs that a container waits: memory of its monitor among twenty, and its processor time."""

from __future__ import annotations

import os
import statistics
import time

from tests.bench import contest, meter, setting
from tests.bench.run import World, world
from tests.bench.setting import Setting

COUNT = 20
LIMIT = 7.0  # MB


def monitor(given: Setting) -> None:
    """Start twenty waiting containers and look at their monitors for a minute."""
    with world(given.scratch) as here:
        names = [f"waiting{number}" for number in range(COUNT)]
        for name in names:
            here.start(name)
        groups = {"rl's monitor": [here.monitor(name) for name in names]}
        if here.podman:
            groups["conmon"] = _conmons(here)
        _settle([pid for pids in groups.values() for pid in pids])
        begin = {pid: meter.own_processor_time(pid) for pids in groups.values() for pid in pids}
        time.sleep(given.seconds)
        print(f"\n{COUNT} waiting containers, watched for {given.seconds:g} s")
        print(f"  {'':26}{'PSS MB':>9}{'min':>9}{'max':>9}{'CPU ms, all':>13}")
        for who, pids in groups.items():
            used = sum(meter.own_processor_time(pid) - begin[pid] for pid in pids)
            sizes = [size / 1e6 for size in map(setting.memory, pids) if size is not None]
            if not sizes:
                print(f"  {who:26}{'only root may read it':>27}{used * 1e3:13.2f}")
                continue
            middle = statistics.median(sizes)
            print(f"  {who:26}{middle:9.2f}{min(sizes):9.2f}{max(sizes):9.2f}{used * 1e3:13.2f}")
            if who != "conmon":
                contest.say_goal("PSS of rl's monitor", middle, LIMIT, " MB")
                contest.say_goal("its CPU time", used * 1e3, 0, " ms")


def _settle(pids: list[int]) -> None:
    """Wait until what starting them took is over: a second in which none of them worked."""
    for _ in range(20):
        before = [meter.own_processor_time(pid) for pid in pids]
        time.sleep(1)
        if before == [meter.own_processor_time(pid) for pid in pids]:
            return


def _conmons(here: World) -> list[int]:
    assert here.podman
    found: list[int] = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                argv = file.read().split(b"\0")
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
        if os.path.basename(argv[0]) == b"conmon" and any(here.podman.path.encode() in word for word in argv):
            found.append(int(entry))
    return found
