"""Fixtures of the tests of images: a fake registry, small images, an unpacker that enters nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from idmap.ranges import IdMap, IdRange, UserMap
from rootless.image.unpack_plan import Unpacker
from rootless.paths import Paths
from tests.support import fake_registry
from tests.support.fake_registry import FakeRegistry


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """Run a registry that does as it is told."""
    with fake_registry.serve() as running:
        yield running


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "data"), str(tmp_path / "run"), str(tmp_path / "config"))


@pytest.fixture
def unpacker() -> Unpacker:
    """Unpack without a namespace: all files are the caller's."""
    uids = IdMap((IdRange(0, os.getuid(), 1),))
    gids = IdMap((IdRange(0, os.getgid(), 1),))
    return Unpacker(UserMap(uids, gids), "one", os.getuid(), os.getgid(), lambda: None)
