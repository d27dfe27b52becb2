"""Garbage collection: what a tag or a container needs stays, in any state of the store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from fs import collect, flock, remove, staging
from fs import descriptor as d
from fs.blobs import BlobStore
from fs.collect import Use
from fs.descriptor import Descriptor
from fs.digest import Digest, chain_ids
from fs.layers import LayerInfo, LayerStore
from fs.layout import Layout


class Image(NamedTuple):
    """What belongs to one image in the store."""

    manifest: Descriptor
    blobs: frozenset[Digest]
    diff_ids: tuple[Digest, ...]


class Store:
    """A store in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.blobs = BlobStore(self.path)
        self.layout = Layout(self.path)
        self.layers = LayerStore(f"{self.path}/layers")

    def image(self, *contents: str) -> Image:
        """Make an image of layers with these contents; nothing has a tag yet."""
        layers = [self._put(d.OCI_LAYER, content) for content in contents]
        diff_ids = tuple(Digest.of(f"diff of {content}".encode()) for content in contents)
        rootfs = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
        config = self._put(d.OCI_CONFIG, json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}))
        manifest = self._put(
            d.OCI_MANIFEST,
            json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": d.OCI_MANIFEST,
                    "config": config.json(),
                    "layers": [layer.json() for layer in layers],
                }
            ),
        )
        return Image(manifest, frozenset({x.digest for x in (manifest, config, *layers)}), diff_ids)

    def index(self, *manifests: Descriptor) -> Descriptor:
        document = {"schemaVersion": 2, "mediaType": d.OCI_INDEX, "manifests": [m.json() for m in manifests]}
        return self._put(d.OCI_INDEX, json.dumps(document))

    def _put(self, media_type: str, text: str) -> Descriptor:
        return Descriptor(media_type, self.blobs.put(text.encode()), len(text))

    def unpack(self, key: str) -> str:
        with staging.new(f"{self.path}/tmp") as directory:
            staged = self.layers.stage(directory, "layer")
            (Path(staged) / "fs/file").touch()
            self.layers.publish(staged, key, LayerInfo("sha256:x"), sync=False)
        return self.layers.path(key)

    def collect(self, *uses: Use) -> collect.Garbage | None:
        return collect.collect(self.path, lambda: uses, remove.tree, min_age=0)

    def left(self) -> tuple[set[Digest], set[str]]:
        return set(self.blobs.digests()), set(self.layers.keys())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give an empty store."""
    return Store(tmp_path)


def test_an_empty_store_has_no_garbage(store: Store) -> None:
    """Nor a file."""
    assert store.collect() == collect.Garbage((), (), 0)


def test_what_a_tag_needs_stays(store: Store) -> None:
    """Manifest, configuration, layers, and their trees under any map, by diff id and by chain id."""
    image, other = store.image("a", "b"), store.image("b", "c")
    store.layout.tag("image", image.manifest)
    kept = {
        store.layers.key(image.diff_ids[0], "one"),
        store.layers.key(image.diff_ids[1], "one", chain_ids(image.diff_ids)[1]),
        store.layers.key(image.diff_ids[1], "0123456789ab"),
    }
    gone = {
        store.layers.key(other.diff_ids[1], "one"),
        store.layers.key(other.diff_ids[1], "one", chain_ids(other.diff_ids)[1]),
    }
    for key in kept | gone:
        store.unpack(key)
    garbage = store.collect()
    assert garbage is not None
    assert set(garbage.blobs) == other.blobs - image.blobs
    assert set(garbage.layers) == gone
    assert garbage.size > 0
    assert store.left() == (set(image.blobs), kept)
    assert os.listdir(f"{store.path}/tmp") == []


def test_untagging_makes_garbage(store: Store) -> None:
    """All of it."""
    image = store.image("a")
    store.layout.tag("image", image.manifest)
    store.unpack(store.layers.key(image.diff_ids[0], "one"))
    store.layout.untag("image")
    store.collect()
    assert store.left() == (set(), set())


def test_what_a_container_needs_stays_without_a_tag(store: Store) -> None:
    """rmi -f while a container exists: its trees and its image's documents."""
    image = store.image("a", "b")
    keys = [store.layers.key(diff_id, "one") for diff_id in image.diff_ids]
    lowers = tuple(store.unpack(key) for key in keys)
    store.collect(Use(image.manifest.digest, lowers))
    assert store.left() == (set(image.blobs), set(keys))
    store.collect(Use(None, lowers[:1]))
    assert store.left() == (set(), {keys[0]})


def test_an_index_keeps_the_manifests_that_were_pulled(store: Store) -> None:
    """Those of other platforms were not; nested ones are followed."""
    image, elsewhere = store.image("a"), Descriptor(d.OCI_MANIFEST, Digest.of(b"never pulled"), 9)
    inner = store.index(image.manifest, elsewhere)
    outer = store.index(inner)
    store.layout.tag("image", outer)
    store.collect()
    assert store.left()[0] == {*image.blobs, inner.digest, outer.digest}


def test_an_index_that_leads_to_itself_ends(store: Store) -> None:
    """No document can hold its own digest, but one that is damaged or hostile may say so."""
    index = store.index(Descriptor(d.OCI_INDEX, Digest.of(b"x"), 1))
    store.layout.tag("image", index)
    store.collect()
    assert store.left()[0] == {index.digest}


def test_an_image_that_cannot_be_read_does_not_stop_the_others(store: Store) -> None:
    """A damaged manifest stays for whoever looks at it."""
    good, bad = store.image("a"), store.image("b")
    store.layout.tag("good", good.manifest)
    store.layout.tag("bad", bad.manifest)
    Path(store.blobs.path(bad.manifest.digest)).write_text("{")
    store.collect()
    assert good.blobs <= store.left()[0]
    assert bad.manifest.digest in store.left()[0]


def test_nothing_is_collected_while_somebody_uses_the_store(store: Store) -> None:
    """Who holds the shared lock is about to refer to something."""
    image = store.image("a")
    with flock.store(store.path):
        assert collect.collect(store.path, lambda: (), remove.tree, wait=False, min_age=0) is None
    assert store.left()[0] == set(image.blobs)
    assert collect.collect(store.path, lambda: (), remove.tree, wait=False, min_age=0) is not None
    assert store.left()[0] == set()


def test_what_is_new_stays(store: Store) -> None:
    """A pull under way names it in the end."""
    image = store.image("a")
    key = store.layers.key(image.diff_ids[0], "one")
    store.unpack(key)
    assert collect.collect(store.path, lambda: (), remove.tree) == collect.Garbage((), (), 0)
    assert store.left() == (set(image.blobs), {key})


def test_strangers_files_stay(store: Store) -> None:
    """Only what has our names is deleted."""
    store.image("a")
    os.makedirs(f"{store.path}/layers/notes")
    Path(store.path, "blobs/sha256/notes").touch()
    store.collect()
    assert os.path.exists(f"{store.path}/layers/notes")
    assert os.path.exists(f"{store.path}/blobs/sha256/notes")
