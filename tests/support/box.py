"""A home that the tests of containers share: images are pulled into it once, containers are gone after each test."""

from __future__ import annotations

import glob
import os
import select
import time
from typing import Any

from tests.support import users
from tests.support.home import Home, Result, Rl
from tests.support.registry import Registry


class Box(Rl):
    """``rl`` in the shared home; ``run`` and its like leave out what most tests do not care for."""

    def __init__(self, home: Home, registry: Registry) -> None:
        super().__init__(home)
        self._registry = registry
        self._pulled: set[str] = set()

    def image(self, name: str) -> str:
        """Return ``name`` (``busybox``, ``redis:user``) once it is in the store under that name."""
        if name not in self._pulled:
            reference = self._registry.reference(name)
            self.ok("pull", "-q", reference, timeout=120)
            self.ok("tag", reference, name)
            self._pulled.add(name)
        return name

    def run(self, *arguments: str, **options: Any) -> Result:
        """``rl run --rm`` without a network."""
        return self("run", "--rm", "--network", "none", *arguments, **options)

    def out(self, *arguments: str, **options: Any) -> str:
        """Return what ``run`` prints; it must succeed."""
        return self.ok("run", "--rm", "--network", "none", *arguments, **options)

    def sh(self, script: str, *options: str, **more: Any) -> str:
        """Return what a shell of busybox prints in a container with these options; it must succeed."""
        return self.out(*options, self.image("busybox"), "sh", "-c", script, **more)

    def detached(self, *arguments: str, **options: Any) -> str:
        """``rl run -d`` without a network; return the id."""
        return self.ok("run", "-d", "--network", "none", *arguments, **options)

    def asleep(self, *options: str) -> str:
        """Return the id of a running container of busybox that does nothing, and ends at once when told to."""
        return self.detached(
            *options, self.image("busybox"), "sh", "-c", "trap exit TERM; while :; do sleep 1000 & wait; done"
        )

    def ids(self) -> list[str]:
        """Return the ids of all containers on disk."""
        try:
            return os.listdir(f"{self.home.data}/containers")
        except FileNotFoundError:
            return []

    def state(self, id_: str) -> str:
        """Return the state of a container as ``rl inspect`` shows it."""
        status: str = self.inspect(id_)["State"]["Status"]
        return status

    def inspect(self, name: str) -> Any:
        """Return the document of one container."""
        import json

        return json.loads(self.ok("inspect", name))[0]

    def clear(self) -> None:
        """Remove every container, and insist that nothing else is left and that nothing went wrong unseen."""
        bugs = glob.glob(f"{self.home.runtime}/bug-*.txt") + glob.glob(f"{self.home.data}/bug-*.txt")
        said = [_take(path) for path in (*bugs, *glob.glob(f"{self.home.data}/containers/*/monitor.err"))]
        try:
            if left := self.ids():
                self.ok("rm", "-f", *left)
            assert not said, "\n".join(said)
            # A container with --rm whose client was killed is removed by its monitor, in its own time.
            deadline = time.monotonic() + 10
            while (left := self.left_over()) and time.monotonic() < deadline:
                select.select([], [], [], 0.01)
            assert left == []
        finally:
            if self.left_over():
                self._force()

    def _force(self) -> None:
        """Remove what a test that failed has left, so that the next one does not fail for it."""
        for pid, start in self.home.processes():
            users.kill(pid, start)
        for name in ("containers", "names", "tmp"):
            users.remove_tree(f"{self.home.data}/{name}")

    def left_over(self) -> list[str]:
        """Return what commands that have ended left in the store beside images: names, staging, containers."""
        found = []
        for name in ("containers", "names", "tmp"):
            path = f"{self.home.data}/{name}"
            found += [f"{name}/{entry}" for entry in (os.listdir(path) if os.path.isdir(path) else [])]
        return sorted(found)


def _take(path: str) -> str:
    with open(path) as file:
        text = file.read()
    os.unlink(path)
    return text
