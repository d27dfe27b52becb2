"""Remove images: their names, then what no other image and no container needs any more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from fs import descriptor, flock, remove, staging
from fs.blobs import BlobStore
from fs.descriptor import Descriptor
from fs.digest import Digest, chain_ids
from fs.layers import LayerStore
from fs.layout import Layout
from fs.trouble import is_full
from rootless.container import state
from rootless.errors import Conflict, NotFound, RlError, StoreError
from rootless.image import local, reference
from rootless.image.local import INDEX_DIGEST
from rootless.paths import Paths

#: Seconds after which something in the store that no name leads to counts as left behind: a pull names it in the end.
_ABANDONED: Final = 24 * 3600


class Use(NamedTuple):
    """A container and what it needs."""

    container: str
    image_id: str  # 64 digits
    running: bool
    layer_keys: frozenset[str]


class _Needs(NamedTuple):
    """Blobs, and ids of layers: diff ids and chain ids."""

    blobs: set[Digest]
    diff_ids: set[str]
    chain_ids: set[str]

    def has_layer(self, key: str) -> bool:
        parsed = LayerStore.parse_key(key)
        return parsed is not None and parsed.encoded in (self.chain_ids if parsed.is_chain else self.diff_ids)


def uses(paths: Paths) -> tuple[Use, ...]:
    """Return what the containers there are need."""
    found = []
    try:
        names = sorted(os.listdir(paths.containers))
    except FileNotFoundError:
        return ()
    for name in names:
        directory = f"{paths.containers}/{name}"
        try:
            with open(f"{directory}/container.json", "rb") as file:
                record = json.load(file)
            running = state.current(directory).status == state.RUNNING
        except (OSError, ValueError):  # being made or removed just now
            continue
        image_id = str(record.get("image_id", "")).rpartition(":")[2]
        found.append(Use(name, image_id, running, frozenset(record.get("layer_keys", ()))))
    return tuple(found)


def discard(paths: Paths, name: str, *, force: bool, enter: Callable[[], None] | None) -> tuple[str, ...]:
    """Remove the image ``name``, or only that name of it where it has others; return Docker's lines.

    ``enter`` lets a forked worker remove files of other ids (``fs.remove``).

    Raises:
        NotFound: there is no such image.
        Conflict: a container uses it, or an id has several names, and ``force`` was not given or does not help.
    """

    def delete(path: str) -> None:
        remove.tree(path, enter)

    staging.sweep(paths.tmp, delete)
    try:
        return _discard(paths, name, delete, force=force)
    except StoreError as e:
        # Even to take a name away needs a little space.
        if not is_full(e) or not _make_room(paths, name, delete):
            raise
    return _discard(paths, name, delete, force=force)


def _discard(paths: Paths, name: str, delete: Callable[[str], None], *, force: bool) -> tuple[str, ...]:
    with staging.new(paths.tmp, delete) as stage, flock.store(paths.data, exclusive=True):
        match = local.find(paths.data, name)
        if match is None:
            raise NotFound(f"No such image: {_shown(name)}", hint="rl images lists the images there are")
        layout = Layout(paths.data)
        id_ = local.image_id(paths.data, match.image)
        tags = layout.tags()
        siblings = [tag for tag, image in tags.items() if local.image_id(paths.data, image) == id_]
        going = _names_to_go(match, siblings)
        _refuse_conflicts(paths, name, id_, match.reference, siblings, going, force=force)
        lines = []
        for tag in going:
            layout.untag(tag)
            lines.append(f"Untagged: {reference.parse(tag).familiar()}")
        if len(going) < len(siblings):
            return tuple(lines)
        lines += _digest_lines(match.image, going)
        lines += _collect(paths, stage, match.image, id_)
        return tuple(lines)


def _make_room(paths: Paths, name: str, delete: Callable[[str], None]) -> bool:
    """Delete what was unpacked for this image alone; should we be killed, it can be unpacked from its blobs again."""
    blobs, store = BlobStore(paths.data), LayerStore(paths.layers)
    has_made = False
    with flock.store(paths.data, exclusive=True):
        match = local.find(paths.data, name)
        if match is None:
            return False
        id_ = local.image_id(paths.data, match.image)
        kept, going = _Needs(set(), set(), set()), _Needs(set(), set(), set())
        for other in Layout(paths.data).descriptors():
            _add(blobs, other, going if local.image_id(paths.data, other) == id_ else kept)
        if not all(blobs.has(digest) for digest in going.blobs):
            return False
        used = frozenset[str]().union(*(use.layer_keys for use in uses(paths)))
        for key in store.keys():
            if going.has_layer(key) and key not in used and not kept.has_layer(key):
                with staging.taking(os.path.dirname(store.path(key)), paths.tmp, delete):
                    has_made = True
    return has_made


def _shown(name: str) -> str:
    try:
        return reference.parse(name).familiar()
    except RlError:
        return name


def _names_to_go(match: local.Match, siblings: list[str]) -> list[str]:
    if not match.reference:
        return siblings
    # Names by digest go with the last one by tag.
    others = [tag for tag in siblings if tag != match.reference]
    if match.reference not in siblings:  # found by the digest of an index
        return siblings
    return siblings if all("@" in tag for tag in others) else [match.reference]


def _refuse_conflicts(
    paths: Paths, name: str, id_: str, tag: str, siblings: list[str], going: list[str], *, force: bool
) -> None:
    if len(going) < len(siblings):
        return
    using = [use for use in uses(paths) if use.image_id == id_]
    running = next((use for use in using if use.running), None)
    if tag and using and not force:
        raise Conflict(
            f'conflict: unable to remove repository reference "{name}" (must force) - '
            f"container {using[0].container[:12]} is using its referenced image {id_[:12]}",
            hint=f"rl rm {using[0].container[:12]}, or rl rmi -f {name}",
        )
    if running:
        raise Conflict(
            f"conflict: unable to delete {id_[:12]} (cannot be forced) - "
            f"image is being used by running container {running.container[:12]}",
            hint=f"rl rm -f {running.container[:12]}",
        )
    if not tag and not force:
        if using:
            raise Conflict(
                f"conflict: unable to delete {id_[:12]} (must be forced) - "
                f"image is being used by stopped container {using[0].container[:12]}",
                hint=f"rl rm {using[0].container[:12]}, or rl rmi -f {name}",
            )
        repositories = {local.name_of(sibling) for sibling in siblings}
        if len(repositories) > 1 or len([sibling for sibling in siblings if "@" not in sibling]) > 1:
            raise Conflict(
                f"conflict: unable to delete {id_[:12]} (must be forced) - "
                "image is referenced in multiple repositories",
                hint=f"remove one name after the other, or rl rmi -f {name}",
            )


def _digest_lines(image: Descriptor, going: list[str]) -> list[str]:
    digest = image.annotations.get(INDEX_DIGEST) or str(image.digest)
    names = dict.fromkeys(reference.parse(tag).familiar_name for tag in going if "@" not in tag)
    return [f"Untagged: {name}@{digest}" for name in names]


def _collect(paths: Paths, stage: str, image: Descriptor, id_: str) -> list[str]:
    """Remove what only ``image`` needed, and what has long been left behind; the store is locked."""
    blobs, store, layout = BlobStore(paths.data), LayerStore(paths.layers), Layout(paths.data)
    kept = _Needs(set(), set(), set())
    for other in layout.descriptors():
        _add(blobs, other, kept)
    containers = uses(paths)
    used_keys = frozenset[str]().union(*(use.layer_keys for use in containers))
    if any(use.image_id == id_ for use in containers):
        # A container made from it stays startable; its layers go after it has gone.
        kept.blobs.update((image.digest, Digest("sha256", id_)))
    gone = _Needs(set(), set(), set())
    order = _add(blobs, image, gone)
    lines = [f"Deleted: sha256:{id_}"]
    removed: set[str] = set()
    for key in store.keys():
        if key in used_keys or kept.has_layer(key):
            continue
        if gone.has_layer(key) or _is_abandoned(os.path.dirname(store.path(key))):
            diff_id = store.info(key).diff_id if gone.has_layer(key) else ""
            if store.retire(key, stage):
                removed.add(diff_id)
    lines += [f"Deleted: {chain}" for diff_id, chain in reversed(order) if str(diff_id) in removed]
    for digest in list(blobs.digests()):
        if digest not in kept.blobs and (digest in gone.blobs or _is_abandoned(blobs.path(digest))):
            blobs.delete(digest)
    return lines


def _add(blobs: BlobStore, image: Descriptor, needs: _Needs) -> tuple[tuple[Digest, Digest], ...]:
    """Add what an image needs; return its layers' diff and chain ids, lowest first."""
    needs.blobs.add(image.digest)
    index = image.annotations.get(INDEX_DIGEST)
    if index:
        needs.blobs.add(Digest.parse(index))
    try:
        manifest = local.load_manifest(blobs, image)
        needs.blobs.add(manifest.config.digest)
        needs.blobs.update(layer.digest for layer in manifest.layers)
        config = descriptor.parse_config(blobs.read(manifest.config.digest, descriptor.MAX_CONFIG))
    except RlError:  # a damaged image can be removed, too
        return ()
    chain = chain_ids(config.diff_ids)
    needs.diff_ids.update(digest.encoded for digest in config.diff_ids)
    needs.chain_ids.update(digest.encoded for digest in chain)
    return tuple(zip(config.diff_ids, chain, strict=True))


def _is_abandoned(path: str) -> bool:
    try:
        return time.time() - os.lstat(path).st_ctime > _ABANDONED
    except OSError:
        return False
