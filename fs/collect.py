"""Garbage collection: delete the blobs and unpacked layers that no tag and no container needs.

Deciding reads only; deleting happens under the exclusive store lock, and the long part, removing trees,
after it: a layer leaves the store by one rename.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from fs import staging
from fs.blobs import BlobStore
from fs.descriptor import MAX_CONFIG, MAX_MANIFEST, Index, parse_config, parse_document
from fs.digest import Digest, chain_ids
from fs.flock import Busy, store
from fs.layers import LayerStore
from fs.layout import Layout
from rootless.errors import BadImage, StoreError

MIN_AGE: Final = 24 * 3600  # seconds


class Use(NamedTuple):
    """What one container needs: its image's manifest, and the trees that its root is made of.

    Anything else that must stay, an index that is only remembered, say, is a use without trees.
    """

    manifest: Digest | None
    lowers: tuple[str, ...]


class Garbage(NamedTuple):
    """What nobody needs, or what was deleted; ``size`` counts the bytes of the blobs."""

    blobs: tuple[Digest, ...]
    layers: tuple[str, ...]
    size: int


class _Needed(NamedTuple):
    blobs: set[Digest]
    layers: set[str]  # keys, and hex digests that stand for a layer under every map


def plan(data_dir: str, uses: Iterable[Use], *, min_age: int = MIN_AGE) -> Garbage:
    """Return what can go; what a tag needs but is missing or unreadable is not an error here.

    Nothing younger than ``min_age`` seconds goes: a pull that is under way gives its blobs and layers a
    name in the end, and holds no lock while it waits for a registry.
    """
    before = time.time() - min_age
    blobs, layers = BlobStore(data_dir), LayerStore(f"{data_dir}/layers")
    needed = _Needed(set(), set())
    for image in Layout(data_dir).descriptors():
        _mark(blobs, image.digest, needed)
    for use in uses:
        if use.manifest is not None:
            _mark(blobs, use.manifest, needed)
        needed.layers.update(layers.key_of_path(path) for path in use.lowers)
    unused = tuple(x for x in blobs.digests() if x not in needed.blobs and _is_older(blobs.path(x), before))
    trees = tuple(
        key
        for key in layers.keys()
        if not _is_needed(key, needed) and _is_older(os.path.dirname(layers.path(key)), before)
    )
    return Garbage(unused, trees, sum(blobs.size(digest) for digest in unused))


def _mark(blobs: BlobStore, digest: Digest, needed: _Needed) -> None:
    """Mark all that a manifest or an index leads to."""
    pending = [digest]
    while pending:
        digest = pending.pop()
        if digest in needed.blobs:
            continue
        needed.blobs.add(digest)
        try:
            document = parse_document(blobs.read(digest, MAX_MANIFEST))
        except (StoreError, BadImage):  # of another platform and never pulled, or of a kind that we do not know
            continue
        if isinstance(document, Index):
            pending += [child.digest for child in document.manifests if blobs.has(child.digest)]
            continue
        needed.blobs.add(document.config.digest)
        needed.blobs.update(layer.digest for layer in document.layers)
        try:
            diff_ids = parse_config(blobs.read(document.config.digest, MAX_CONFIG)).diff_ids
        except (StoreError, BadImage):
            continue
        needed.layers.update(diff_id.encoded for diff_id in (*diff_ids, *chain_ids(diff_ids)))


def _is_needed(key: str, needed: _Needed) -> bool:
    parts = LayerStore.parse_key(key)
    return parts is None or key in needed.layers or parts.encoded in needed.layers


def _is_older(path: str, before: float) -> bool:
    try:
        return os.lstat(path).st_ctime <= before  # ctime: when it was renamed to here
    except OSError:
        return False


def collect(
    data_dir: str,
    uses: Callable[[], Iterable[Use]],
    remove: Callable[[str], None],
    *,
    wait: bool = True,
    min_age: int = MIN_AGE,
) -> Garbage | None:
    """Delete what nobody needs; return it, or None if somebody is using the store and ``wait`` is false.

    ``uses`` is asked under the lock. ``remove`` deletes a tree with files of other ids; what it cannot
    delete stays in ``tmp`` for the next sweep.

    Raises:
        StoreError: the store cannot be changed.
    """
    blobs, layers = BlobStore(data_dir), LayerStore(f"{data_dir}/layers")
    try:
        with staging.new(f"{data_dir}/tmp", remove) as directory:
            with store(data_dir, exclusive=True, wait=wait):
                garbage = plan(data_dir, uses(), min_age=min_age)
                for key in garbage.layers:
                    layers.retire(key, directory)
                for digest in garbage.blobs:
                    blobs.delete(digest)
    except Busy:
        return None
    return garbage
