"""Fixtures for the tests of whole commands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.box import Box
from tests.support.home import Home
from tests.support.registry import Registry
from tests.support.screen import Screen
from tests.support.users import Me


@pytest.fixture(scope="session")
def shared_box(registry: Registry, namespaces: None) -> Iterator[Box]:
    """Make the home that tests of containers share, logged in at the registry."""
    home = Home()
    try:
        home.log_in(registry)
        made = Box(home, registry)
        made.image("busybox")
        yield made
    finally:
        home.remove()


@pytest.fixture
def box(shared_box: Box) -> Iterator[Box]:
    """``rl`` in a home with the image ``busybox``; afterwards all containers are gone, and nothing else is left."""
    yield shared_box
    shared_box.clear()


@pytest.fixture
def screen(box: Box) -> Iterator[Callable[..., Screen]]:
    """Return a function that runs ``rl`` with these arguments on a terminal of its own."""
    screens: list[Screen] = []

    def show(*arguments: str, **options: int) -> Screen:
        made = Screen((*box.argv, *arguments), env=box.home.env, cwd=box.home.path, **options)
        screens.append(made)
        return made

    yield show
    for made in screens:
        made.__exit__()


@pytest.fixture
def rootfs(tmp_path_factory: pytest.TempPathFactory, container_root: tuple[int, int]) -> Path:
    """Make a root file system with a static busybox, whose files are those of the container's root."""
    made = tmp_path_factory.mktemp("rootfs")
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (made / name).mkdir()
    shutil.copy(tools.find("busybox"), made / "bin/busybox")
    for name in ("sh", "cat", "ls", "id", "true", "mount", "stat", "sleep", "grep", "test"):
        (made / "bin" / name).symlink_to("busybox")
    (made / "marker").write_text("the marker")
    (made / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (made / "etc/group").write_text("root:x:0:\n")
    give_away(made, container_root)
    return made


@pytest.fixture(scope="session")
def container_root(shared_box: Box) -> tuple[int, int]:
    """Return the host's ids of a container's root: its files are the container's own."""
    id_ = shared_box.ok("create", "--network", "none", shared_box.image("busybox"))
    status = os.stat(f"{shared_box.home.data}/containers/{id_}/files/hosts")
    shared_box.ok("rm", id_)
    return status.st_uid, status.st_gid


def give_away(tree: Path, owner: tuple[int, int]) -> None:
    """As real root: make everything below ``tree`` the container root's, whom our own files are not for."""
    if os.geteuid() == 0:
        for path in (tree, *tree.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)


@pytest.fixture
def needs_many_ids(me: Me) -> None:
    """Skip where a container gets one id only: an ordinary user without ranges. Real root always has some."""
    if not me.is_root and not me.has_ranges:
        pytest.skip("needs subuid ranges")
