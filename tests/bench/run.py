"""``rl run``, ``exec``, ``ps`` and ``logs`` beside podman's, and beside crun and bubblewrap, which do the core only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.bench import contest, images, meter, peers, setting
from tests.bench.contest import Contestant, Goal
from tests.bench.peers import Podman
from tests.bench.setting import Setting
from tests.support.home import Rl

NETWORK = ("--network", "none")
LINES = "for i in 1 2 3 4 5; do echo line $i; done; exec sleep 100000"


class World:
    """rl and, where it runs here, podman, each with the image ``name``."""

    def __init__(self, rl: Rl, podman: Podman | None, name: str) -> None:
        self.rl = rl
        self.podman = podman
        self.name = name
        self.rootfs = f"{images.busybox()}/rootfs"

    def ours(self, name: str, *arguments: str) -> Contestant:
        return contest.always(name, (*self.rl.argv, *arguments), self.rl.home.env)

    def podmans(self, name: str, *arguments: str) -> list[Contestant]:
        return [contest.always(name, self.podman.argv(*arguments), self.podman.env)] if self.podman else []

    def start(self, name: str) -> None:
        """Start a container that waits, in both."""
        arguments = ("run", "-d", "--name", name, *NETWORK, self.name, "sh", "-c", LINES)
        self.rl.ok(*arguments)
        if self.podman:
            self.podman.call(*arguments)

    def monitor(self, name: str) -> int:
        """Return the pid of the monitor of one of rl's containers."""
        id_ = self.rl.ok("inspect", "-f", "{{.Id}}", name)
        with open(f"{self.rl.home.data}/containers/{id_}/state.json") as file:
            pid: int = json.load(file)["monitor"]
        return pid


@contextmanager
def world(scratch: str) -> Iterator[World]:
    """Pull the small image into fresh stores and warm both up: rl's holder and podman's pause process run."""
    with ExitStack() as stack:
        registry = stack.enter_context(images.served(scratch, (f"{images.busybox()}/layout", "latest", "busybox")))
        rl = stack.enter_context(setting.installed(registry.host))
        name = registry.reference("busybox")
        rl.ok("pull", "-q", name)
        os.unlink(f"{rl.home.config}/config.toml")  # most have none, and reading it is not what we measure
        rl.ok("run", "--rm", *NETWORK, name, "true")
        podman = None
        if reason := Podman.missing():
            setting.say_missing(reason)
        else:
            podman = Podman()
            stack.callback(podman.remove)
            podman.pull(registry, "busybox")
            podman.call("run", "--rm", *NETWORK, name, "true")
        yield World(rl, podman, name)


def run(given: Setting) -> None:
    """Measure a container from nothing to nothing: make, start, end, remove."""
    with world(given.scratch) as here:
        words = ("run", "--rm", *NETWORK, here.name, "true")
        contestants = [here.ours("rl run", *words), *here.podmans("podman run", *words)]
        plain = {"PATH": os.environ["PATH"], "HOME": given.scratch, "XDG_RUNTIME_DIR": given.scratch}
        if reason := peers.missing("crun"):
            setting.say_missing(reason)
        else:
            bundle = f"{given.scratch}/bundle"
            os.mkdir(bundle)
            peers.crun_bundle(bundle, here.rootfs, "true")
            crun = ("crun", f"--root={given.scratch}/crun", "--cgroup-manager=disabled", "run", f"--bundle={bundle}")
            contestants.append(contest.always("crun run", (*crun, "bench"), plain))
        if reason := peers.missing("bwrap"):
            setting.say_missing(reason)
        else:
            contestants.append(contest.always("bwrap", peers.bwrap(here.rootfs, "/bin/true"), plain))
        contest.show(
            "rl run --rm --network none busybox true",
            contest.run(contestants, given.turns or 15, given.scratch),
            (
                Goal("rl run", "podman run", "wall", 1 / 3),
                Goal("rl run", "podman run", "cpu", 1 / 2),
                Goal("rl run", "crun run", "wall", 6),
            ),
        )


def exec_(given: Setting) -> None:
    """Measure a command in a running container."""
    with world(given.scratch) as here:
        here.start("waiting")
        words = ("exec", "waiting", "true")
        monitor = here.monitor("waiting")
        turns = given.turns or 15
        before = meter.processor_time(monitor)
        contestants = [here.ours("rl exec", *words), *here.podmans("podman exec", *words)]
        costs = contest.run(contestants, turns, given.scratch)
        # The monitor forks the command, so that its part is not among our descendants.
        share = (meter.processor_time(monitor) - before) / (turns + 1)
        costs["rl exec"] = [cost._replace(cpu=cost.cpu + share) for cost in costs["rl exec"]]
        contest.show("rl exec ID true", costs, (Goal("rl exec", "podman exec", "wall", 1 / 3),))
        print(f"  of rl's CPU time, {share * 1e3:.1f} ms are the monitor's and its child's")


def look(given: Setting) -> None:
    """Measure what only reads: ps with five containers, and logs."""
    with world(given.scratch) as here:
        for number in range(5):
            here.start(f"waiting{number}")
        for words in (("ps",), ("logs", "waiting0")):
            contestants = [here.ours(f"rl {words[0]}", *words), *here.podmans(f"podman {words[0]}", *words)]
            contest.show(f"rl {' '.join(words)}", contest.run(contestants, given.turns or 15, given.scratch))
