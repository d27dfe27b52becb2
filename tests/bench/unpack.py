"""Unpacking one gzip layer: rl's extraction, GNU tar, and umoci.

Each unpacks into a new directory and nothing is removed before the end: for minutes after many files were removed,
ext4 searches long for an inode that was not just freed, up to ten times longer than all else takes.
"""

from __future__ import annotations

import os
import sys

from tests.bench import contest, layers, peers, setting
from tests.bench.contest import Command, Contestant, Goal
from tests.bench.setting import Setting

#: A program of its own, so that the installed packages are what runs.
_ONCE = f"{os.path.dirname(os.path.abspath(__file__))}/unpack_once.py"


def unpack(given: Setting) -> None:
    """Unpack the lowest layer of the large image."""
    layout = layers.large()
    archive = layers.single(layout)
    env = {"PATH": os.environ["PATH"], "HOME": given.scratch, "TMPDIR": given.scratch}

    def contestant(name: str, *argv: str) -> Contestant:
        def command(turn: int) -> Command:
            where = f"{given.scratch}/{name.replace(' ', '-')}-{turn}"
            return Command(tuple(where if word == "WHERE" else word for word in argv), env)

        return Contestant(name, command)

    contestants = [
        contestant("rl", sys.executable, _ONCE, "plain", archive, "WHERE"),
        contestant("rl, digests checked", sys.executable, _ONCE, "hashed", archive, "WHERE"),
        contestant("tar -xzf", "sh", "-c", f'mkdir "$0" && exec tar -C "$0" -xzf {archive}', "WHERE"),
    ]
    if reason := peers.missing("umoci"):
        setting.say_missing(reason)
    else:
        umoci = ("umoci", "--log", "error", "unpack", "--rootless", "--image", f"{layout}:single")
        contestants.append(contestant("umoci unpack", *umoci, "WHERE"))
    contest.show(
        f"unpack a layer of {os.path.getsize(archive) / 1e6:.0f} MB",
        contest.run(contestants, given.turns or 5, given.scratch, settle=True, warm=False),
        (Goal("rl", "tar -xzf", "wall", 1 / 2), Goal("rl", "umoci unpack", "wall", 1 / 6)),
    )
