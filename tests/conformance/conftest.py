"""The worlds in which every storage driver is tried."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fs import remove
from fs.snapshot import choose
from rootless.paths import Paths
from tests.conformance import userns
from tests.conformance.userns import Ids
from tests.conformance.world import World


@pytest.fixture(params=["one", "range"])
def ids(request: pytest.FixtureRequest) -> Ids:
    """Give the ids of the namespace: the caller's own, or many."""
    if request.param == "one":
        return userns.one_id()
    found = userns.id_range()
    if found is None:
        pytest.skip("needs subuid ranges")
    return found


@pytest.fixture(params=["overlay", "plain"])
def world(request: pytest.FixtureRequest, ids: Ids, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give a driver that works on the temporary directory's file system."""
    path = str(tmp_path_factory.mktemp("world"))
    if request.param == "overlay":
        os.mkdir(f"{path}/data", 0o700)
        choice = choose.choose(Paths(f"{path}/data", f"{path}/run", f"{path}/config"))
        if choice.driver != "overlay":
            pytest.skip(f"no overlayfs: {choice.reason}")
    try:
        yield World(choose.load(request.param), ids, path)
    finally:
        remove.tree(path, userns.entered(ids))
