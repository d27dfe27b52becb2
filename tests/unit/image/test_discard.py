"""Removing takes names first, and of the rest what nobody needs; containers keep theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fs.layout import Layout as Tags
from rootless.config import Settings
from rootless.errors import Conflict, NotFound
from rootless.image import discard, local, pull, reference
from rootless.image.progress import Quiet
from rootless.image.unpack_plan import Unpacker
from rootless.linux import pidfd
from rootless.paths import Paths

HELLO = "docker.io/rl/hello:latest"


@pytest.fixture
def hello(paths: Paths, unpacker: Unpacker) -> str:
    """Have rl/hello in the store; return its id."""
    ref = reference.parse("rl/hello")
    pulled = pull.pull(paths, ref, platform=None, unpacker=unpacker, progress=Quiet(), settings=Settings())
    return pulled.manifest.config.digest.encoded


@pytest.fixture
def container(paths: Paths, hello: str) -> Callable[[bool], str]:
    """Return a function that makes a container of it, running or not."""

    def make(running: bool) -> str:
        directory = Path(paths.containers) / ("c" * 64)
        directory.mkdir(parents=True)
        record = {"image_id": f"sha256:{hello}", "layer_keys": os.listdir(paths.layers)}
        (directory / "container.json").write_text(json.dumps(record))
        me = os.getpid()
        state = {"status": "running" if running else "exited", "monitor": me, "monitor_start": pidfd.start_time(me),
                 "host": os.uname().nodename, "boot": pidfd.boot_id()}  # fmt: skip
        (directory / "state.json").write_text(json.dumps(state))
        return "c" * 12

    return make


def remove(paths: Paths, name: str, *, force: bool = False) -> tuple[str, ...]:
    return discard.discard(paths, name, force=force, enter=None)


def test_the_last_name_takes_everything_along(paths: Paths, hello: str) -> None:
    lines = remove(paths, "rl/hello")
    assert lines[0] == "Untagged: rl/hello:latest"
    assert lines[1].startswith("Untagged: rl/hello@sha256:")
    assert lines[2] == f"Deleted: sha256:{hello}"
    assert len(lines) == 4
    assert os.listdir(paths.layers) == os.listdir(f"{paths.data}/blobs/sha256") == os.listdir(paths.tmp) == []


def test_a_name_among_others_is_only_untagged(paths: Paths, hello: str) -> None:
    Tags(paths.data).tag("docker.io/library/mine:1", Tags(paths.data).tags()[HELLO])
    assert remove(paths, "mine:1") == ("Untagged: mine:1",)
    assert local.resolve(paths, "rl/hello") is not None


def test_an_id_with_several_names_must_be_forced(paths: Paths, hello: str) -> None:
    Tags(paths.data).tag("docker.io/library/mine:1", Tags(paths.data).tags()[HELLO])
    with pytest.raises(Conflict) as caught:
        remove(paths, hello[:12])
    assert caught.value.message == (
        f"conflict: unable to delete {hello[:12]} (must be forced) - image is referenced in multiple repositories"
    )
    assert len([line for line in remove(paths, hello[:12], force=True) if line.startswith("Untagged")]) == 4


def test_a_stopped_container_is_in_the_way_unless_forced(
    paths: Paths, hello: str, container: Callable[[bool], str]
) -> None:
    id_ = container(False)
    with pytest.raises(Conflict) as caught:
        remove(paths, "rl/hello")
    assert caught.value.message == (
        'conflict: unable to remove repository reference "rl/hello" (must force) - '
        f"container {id_} is using its referenced image {hello[:12]}"
    )
    with pytest.raises(Conflict, match="image is being used by stopped container"):
        remove(paths, hello[:12])
    before = os.listdir(paths.layers)
    remove(paths, "rl/hello", force=True)
    assert os.listdir(paths.layers) == before
    assert local.resolve(paths, "rl/hello") is None


def test_a_running_container_cannot_be_forced(paths: Paths, hello: str, container: Callable[[bool], str]) -> None:
    id_ = container(True)
    with pytest.raises(Conflict) as caught:
        remove(paths, hello, force=True)
    assert caught.value.message == (
        f"conflict: unable to delete {hello[:12]} (cannot be forced) - image is being used by running container {id_}"
    )


def test_what_is_not_there_is_not_found(paths: Paths, hello: str) -> None:
    for name in ("nothing", "abcdef123456", f"sha256:{'9' * 64}"):
        with pytest.raises(NotFound, match="No such image"):
            remove(paths, name)


def test_an_id_is_found_by_its_beginning(paths: Paths, hello: str) -> None:
    for name in (hello, hello[:12], hello[:5], f"sha256:{hello}", f"sha256:{hello[:9]}"):
        found = local.resolve(paths, name)
        assert found is not None
        assert found.id.encoded == hello
        assert found.reference == ""
    assert local.resolve(paths, "rl/hello", "linux/s390x") is None
