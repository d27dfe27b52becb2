"""The tutorial and the how-to guides work as written: their examples are typed into terminals."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import cast

import pytest

from tests.support import docs
from tests.support import registry as registries
from tests.support.cache import Unavailable
from tests.support.docs import Reader
from tests.support.home import Home, Rl
from tests.support.registry import Registry
from tests.support.users import Me

DOCS = Path(os.environ.get("RL_TEST_SOURCE") or Path(__file__).parents[2]) / "docs"
DOCUMENTS = sorted((*(DOCS / "tutorial").glob("*.md"), *(DOCS / "how-to").glob("*.md")))
#: A document whose pulls and copies take long on a slow machine.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Run a registry that has the tests' images under the names that they have on Docker Hub."""
    directory = tmp_path_factory.mktemp("hub")
    try:
        docs.like_docker_hub(registries.filled_store(), str(directory / "store"))
        with registries.serve(str(directory / "server"), str(directory / "store"), readonly=True) as running:
            yield running
    except Unavailable as e:
        pytest.skip(f"no registry: {e}")


@pytest.fixture
def reader(home: Home, hub: Registry, registry: Registry, namespaces: None) -> Iterator[Reader]:
    """Sit down at a machine where the hub answers for Docker Hub, with the CA of a registry of one's own at hand."""
    home.log_in(hub)
    home.configure(registry_ca=[hub.ca], registry_mirrors=[f"https://{hub.host}"])
    desk = Path(home.path) / "desk"
    desk.mkdir()
    shutil.copy(registry.ca, desk / "ca.crt")
    for package in ("rootless", "idmap", "fs"):  # what a clone has; the wheel under test is what is copied
        (found,) = cast("ModuleSpec", importlib.util.find_spec(package)).submodule_search_locations or ()
        shutil.copytree(found, desk / "rl" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (desk / "token").write_text(f"{registry.password}\n")
    names = {"registry.example.org": registry.host, "you": home.env["USER"]}
    with Reader(home.env, str(desk), names) as made:
        yield made


def kind_of(me: Me) -> str:
    return "root" if me.is_root else "ranges" if me.has_ranges else "one"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_the_examples_show_what_the_document_says(reader: Reader, rl: Rl, me: Me, document: Path) -> None:
    if document.parent.name != "tutorial":  # where everybody has pulled an image before
        rl.ok("pull", "-q", "busybox")
    reader.follow(document, kind_of(me))


def test_every_tutorial_has_examples() -> None:
    """A document whose blocks nobody recognises would pass."""
    assert all(docs.blocks(path) for path in (DOCS / "tutorial").glob("*.md"))
