"""A storage driver, a kind of namespace and a directory: where layers are built and roots looked at."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from fs.snapshot.driver import Driver, Rootfs
from rootless.linux import mount
from tests.conformance import userns
from tests.conformance.userns import Ids

Do = Callable[[], None]


class World:
    """One driver, one kind of namespace, and a directory for layers and containers."""

    def __init__(self, driver: Driver, ids: Ids, path: str) -> None:
        self.driver = driver
        self.ids = ids
        self.path = path
        self._layers = 0
        self._containers = 0

    def layer(self, build: Do | None = None, *, name: str = "") -> str:
        """Make a layer, filled by ``build`` as the container's root with the layer as current directory."""
        self._layers += 1
        path = f"{self.path}/{name or f'layer-{self._layers}'}"
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)
        if os.geteuid() == 0:
            os.chown(path, *self.ids.owner)
        if build:
            userns.in_child(lambda: self._build(path, build))
        return path

    def _build(self, path: str, build: Do) -> None:
        os.chdir(path)
        userns.enter(self.ids)
        userns.become_root()
        os.umask(0o022)
        build()

    def container(self, *lowers: str) -> Rootfs:
        """Make a container's root over ``lowers``, the topmost first."""
        self._containers += 1
        path = f"{self.path}/container-{self._containers}"
        os.mkdir(path, 0o700)
        rootfs = self.driver.plan(path, lowers)
        self.driver.make(rootfs, self.ids.owner if os.geteuid() == 0 else None)

        def fill() -> None:
            fds = self.driver.open_fill(rootfs)
            userns.enter(self.ids)
            userns.become_root()
            self.driver.fill(rootfs, fds)

        userns.in_child(fill)
        return rootfs

    def look(self, rootfs: Rootfs, do: Do, *, readonly: bool = False, early: bool = False) -> None:
        """Mount ``rootfs`` and call ``do`` as the container's root in its root directory."""

        def inside() -> None:
            # Opened before the mount namespace is made, they are opened again by path.
            fds = self.driver.open(rootfs) if early else ()
            userns.enter(self.ids)
            userns.own_mounts()
            fds = fds or self.driver.open(rootfs)
            userns.become_root()
            mount.mount("tmpfs", "/mnt", "tmpfs", 0)
            os.mkdir("/mnt/root")
            self.driver.mount(rootfs, fds, "/mnt/root", readonly)
            os.chdir("/mnt/root")
            os.umask(0o022)
            do()

        userns.in_child(inside)


def write(path: str, text: str = "", mode: int = 0o644) -> None:
    """Make or change a file."""
    with open(path, "w", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(path, mode)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def whiteout(path: str) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def files(*paths: str) -> Do:
    """Return what makes files that hold their own path, with the directories they need."""

    def build() -> None:
        for path in paths:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            write(path, path)

    return build


def equal(seen: object, expected: object) -> None:
    """Check, for use in a lambda."""
    assert seen == expected
