"""Fixtures for the tests of whole commands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import tools, users
from tests.support.box import Box
from tests.support.home import Home
from tests.support.registry import Registry
from tests.support.screen import Screen


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
def rootfs(tmp_path_factory: pytest.TempPathFactory, box: Box) -> Path:
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
    give_away(made)
    return made


def give_away(tree: Path) -> None:
    """As real root: make everything below ``tree`` the container root's, and let it get there."""
    user = users.me()
    if not user.is_root:
        return
    uid, gid = user.subuids[0].start, user.subgids[0].start
    for path in (tree, *tree.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)
