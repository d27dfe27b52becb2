"""Pulling a layered image from a registry on this machine into a fresh store, unpacked: rl and podman."""

from __future__ import annotations

import os

from tests.bench import contest, images, layers, setting
from tests.bench.contest import Command, Contestant, Costs, Goal
from tests.bench.peers import Podman
from tests.bench.setting import Setting
from tests.support.home import Rl
from tests.support.registry import Registry

#: At most this part of podman's wall time, by compression; and of its processor time.
WALL = {"gzip": 1 / 2.5, "zstd": 1 / 3.5}
CPU = 1 / 3


def pull(given: Setting) -> None:
    """Pull the large image by turns; every turn has a store of its own, and all are removed at the end."""
    layout = layers.large()
    pushed = [(layout, tag, f"large:{tag}") for tag in WALL]
    with images.served(given.scratch, *pushed) as registry, setting.installed(registry.host) as rl:
        rl.ok("run", "--rm", "--network", "none", "rl/hello")  # the holder runs, as podman's pause process does
        contestants: list[Contestant] = []
        podman = None
        if reason := Podman.missing():
            setting.say_missing(reason)
        else:
            podman = Podman()
            podman.call("unshare", "true")
        try:
            for compression in WALL:
                contestants.append(_ours(rl, registry, compression))
                if podman:
                    contestants.append(_podmans(podman, registry, compression))
            costs = contest.run(contestants, given.turns or 5, given.scratch, settle=True, warm=False)
        finally:
            if podman:
                podman.remove()
        _show(costs, layout)


def _ours(rl: Rl, registry: Registry, compression: str) -> Contestant:
    def command(turn: int) -> Command:
        env = {**rl.home.env, "RL_DATA": f"{rl.home.path}/{compression}-{turn}"}
        return Command((*rl.argv, "pull", "-q", registry.reference(f"large:{compression}")), env)

    return Contestant(f"rl pull {compression}", command)


def _podmans(podman: Podman, registry: Registry, compression: str) -> Contestant:
    def command(turn: int) -> Command:
        store = f"{podman.path}/{compression}-{turn}"
        where = (f"--root={store}/storage", f"--runroot={store}/run")
        reference = registry.reference(f"large:{compression}")
        return Command(podman.argv(*where, "pull", "-q", "--tls-verify=false", reference), podman.env)

    return Contestant(f"podman pull {compression}", command)


def _show(costs: Costs, layout: str) -> None:
    size = sum(entry.stat().st_size for entry in os.scandir(f"{layout}/blobs/sha256")) / 2e6
    for compression, limit in WALL.items():
        ours, theirs = f"rl pull {compression}", f"podman pull {compression}"
        contest.show(
            f"pull {len(layers.SHARES)} layers of {layers.SIZE / 1e6:.0f} MB, about {size:.0f} MB compressed",
            {name: runs for name, runs in costs.items() if name in (ours, theirs)},
            (Goal(ours, theirs, "wall", limit), Goal(ours, theirs, "cpu", CPU)),
        )
