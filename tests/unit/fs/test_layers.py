"""Unpacked layers: published whole by one rename, named by content and id map."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fs import remove, staging
from fs.digest import Digest
from fs.layers import Key, LayerInfo, LayerStore
from rootless.errors import StoreError

DIFF = Digest.of(b"diff")
CHAIN = Digest.of(b"chain")
INFO = LayerInfo(str(DIFF), entries=3, size=10, skipped=("dev/null",), uids="0 1000 1\n")


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    """Give an empty store."""
    return LayerStore(f"{tmp_path}/layers")


def publish(store: LayerStore, tmp_path: Path, key: str, content: str = "x") -> None:
    with staging.new(f"{tmp_path}/tmp") as directory:
        staged = store.stage(directory, "layer")
        (Path(staged) / "fs/file").write_text(content)
        store.publish(staged, key, INFO)


def test_a_key_names_content_and_map(store: LayerStore) -> None:
    """With the chain id it ends in c."""
    assert store.key(DIFF, "one") == f"{DIFF.encoded}.one"
    assert store.key(DIFF, "0123456789ab", CHAIN) == f"{CHAIN.encoded}.0123456789abc"
    assert store.parse_key(store.key(DIFF, "one")) == Key(DIFF.encoded, "one", False)
    assert store.parse_key(store.key(DIFF, "0123456789ab", CHAIN)) == Key(CHAIN.encoded, "0123456789ab", True)


@pytest.mark.parametrize("key", ["", "x", "..", f"{DIFF.encoded}", f"{DIFF.encoded}.two", f"{DIFF.encoded}.one/fs"])
def test_other_names_are_no_keys(store: LayerStore, key: str) -> None:
    """They are never collected."""
    assert store.parse_key(key) is None


def test_a_published_layer_is_there(store: LayerStore, tmp_path: Path) -> None:
    """Its tree, and what was recorded."""
    key = store.key(DIFF, "one")
    assert not store.has(key)
    publish(store, tmp_path, key)
    assert store.has(key)
    assert store.path(key) == f"{tmp_path}/layers/{key}/fs"
    assert Path(store.path(key), "file").read_text() == "x"
    assert store.info(key) == INFO
    assert store.keys() == (key,)
    assert store.key_of_path(store.path(key)) == key
    assert os.listdir(tmp_path / "tmp") == []


def test_the_tree_is_0755_whatever_the_umask(store: LayerStore, tmp_path: Path) -> None:
    """It is the container's root directory."""
    old = os.umask(0o077)
    try:
        staged = store.stage(str(tmp_path), "layer")
    finally:
        os.umask(old)
    assert os.stat(f"{staged}/fs").st_mode & 0o7777 == 0o755


def test_who_publishes_second_finds_the_first(store: LayerStore, tmp_path: Path) -> None:
    """Both have unpacked the same content; containers may use the first already."""
    key = store.key(DIFF, "one")
    publish(store, tmp_path, key, "first")
    publish(store, tmp_path, key, "second")
    assert Path(store.path(key), "file").read_text() == "first"
    assert os.listdir(tmp_path / "tmp") == []


def test_a_layer_is_found_under_either_key(store: LayerStore, tmp_path: Path) -> None:
    """By its own id, else by the chain's; another map's does not count."""
    assert store.find(DIFF, CHAIN, "one") is None
    publish(store, tmp_path, store.key(DIFF, "0123456789ab"))
    assert store.find(DIFF, CHAIN, "one") is None
    publish(store, tmp_path, store.key(DIFF, "one", CHAIN))
    assert store.find(DIFF, CHAIN, "one") == store.key(DIFF, "one", CHAIN)
    publish(store, tmp_path, store.key(DIFF, "one"))
    assert store.find(DIFF, CHAIN, "one") == store.key(DIFF, "one")


def test_a_removed_layer_is_gone(store: LayerStore, tmp_path: Path) -> None:
    """First from the store, by a rename; twice is no error."""
    key = store.key(DIFF, "one")
    publish(store, tmp_path, key)
    for _ in range(2):
        store.remove(key, f"{tmp_path}/tmp", remove.tree)
        assert store.keys() == ()
        assert os.listdir(tmp_path / "tmp") == []


def test_a_layer_that_cannot_be_deleted_has_left_the_store(store: LayerStore, tmp_path: Path) -> None:
    """The tree waits for the next sweep."""
    key = store.key(DIFF, "one")
    publish(store, tmp_path, key)

    def refuse(path: str) -> None:
        raise PermissionError(13, "no", path)

    store.remove(key, f"{tmp_path}/tmp", refuse)
    assert not store.has(key)
    assert [path.name for path in (tmp_path / "tmp").glob("*/*")] == [key]


@pytest.mark.parametrize("text", ["", "[]", "{}", "7"])
def test_a_damaged_record_is_a_store_error(store: LayerStore, tmp_path: Path, text: str) -> None:
    """So is a missing one."""
    key = store.key(DIFF, "one")
    with pytest.raises(StoreError, match="not unpacked"):
        store.info(key)
    publish(store, tmp_path, key)
    Path(tmp_path, "layers", key, "layer.json").write_text(text)
    with pytest.raises(StoreError, match=r"layer\.json"):
        store.info(key)
