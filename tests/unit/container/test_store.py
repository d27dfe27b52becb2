"""Containers on disk: names taken and freed, and how one is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootless.container import store
from rootless.errors import Conflict, NotFound, RlError
from rootless.paths import Paths

ONE, OTHER = "a" * 64, "ab" * 32


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "d"), str(tmp_path / "r"), str(tmp_path / "c"))


def make(paths: Paths, id_: str, name: str | None) -> str:
    """Publish an empty container."""
    staged = f"{paths.data}/staged-{id_}"
    os.makedirs(staged)
    taken = store.take_name(paths, name, id_)
    store.publish(paths, staged, id_)
    return taken


def test_a_container_is_found_by_id_name_and_beginning(paths: Paths) -> None:
    make(paths, ONE, "web")
    make(paths, OTHER, "db")
    assert store.find(paths, "web") == store.find(paths, "/web") == store.find(paths, ONE) == ONE
    assert store.find(paths, "aba") == OTHER


def test_a_name_comes_before_the_beginning_of_an_id(paths: Paths) -> None:
    make(paths, ONE, "abab")
    make(paths, OTHER, "db")
    assert store.find(paths, "abab") == ONE


def test_an_ambiguous_beginning_is_an_error(paths: Paths) -> None:
    make(paths, ONE, "web")
    make(paths, OTHER, "db")
    with pytest.raises(RlError, match="multiple IDs found with provided prefix: a"):
        store.find(paths, "a")


@pytest.mark.parametrize("text", ["", "/", ".", "..", "nosuch", "../containers", "a/b", "\0", "x" * 300, "web "])
def test_what_is_not_there(paths: Paths, text: str) -> None:
    make(paths, ONE, "web")
    with pytest.raises(NotFound, match="No such container"):
        store.find(paths, text)


def test_a_name_is_taken_once(paths: Paths) -> None:
    make(paths, ONE, "web")
    with pytest.raises(Conflict, match=f'name "/web" is already in use by container "{ONE}"'):
        store.take_name(paths, "web", OTHER)


def test_a_name_that_is_being_taken_by_a_living_process_is_taken(paths: Paths) -> None:
    store.take_name(paths, "web", ONE)
    with pytest.raises(Conflict):
        store.take_name(paths, "web", OTHER)


def test_a_name_is_free_again_once_its_container_is_gone(paths: Paths) -> None:
    make(paths, ONE, "web")
    os.rmdir(store.directory(paths, ONE))
    store.release(paths, "web", ONE)
    make(paths, OTHER, "web")
    assert store.find(paths, "web") == OTHER


def test_releasing_leaves_the_name_of_another(paths: Paths) -> None:
    make(paths, ONE, "web")
    store.release(paths, "web", OTHER)
    assert store.find(paths, "web") == ONE


def test_a_name_left_by_a_killed_creator_is_free(paths: Paths) -> None:
    """The link names who took it, by pid and start time; nobody is that any more."""
    os.makedirs(paths.names)
    os.symlink(f"{ONE}.{os.getpid()}.1", f"{paths.names}/web")
    os.symlink(f"{ONE}.{os.getpid()}.1", f"{paths.names}/swept")
    store.sweep(paths)
    assert os.listdir(paths.names) == []
    os.symlink(f"{ONE}.{os.getpid()}.1", f"{paths.names}/web")
    assert make(paths, OTHER, "web") == "web"


def test_sweeping_leaves_the_names_of_containers_and_of_living_creators(paths: Paths) -> None:
    make(paths, ONE, "web")
    store.take_name(paths, "coming", OTHER)
    store.sweep(paths)
    assert sorted(os.listdir(paths.names)) == ["coming", "web"]


def test_a_taken_name_is_said_early(paths: Paths) -> None:
    make(paths, ONE, "web")
    store.check_free(paths, "free")
    with pytest.raises(Conflict):
        store.check_free(paths, "web")


def test_a_name_is_made_up(paths: Paths) -> None:
    name = make(paths, ONE, None)
    assert store.find(paths, name) == ONE


def test_no_store_has_no_containers(paths: Paths) -> None:
    assert store.ids(paths) == []
    with pytest.raises(NotFound):
        store.find(paths, "web")
