"""Images that the store already has; on the path of every ``rl run``, so nothing slow is imported."""

from __future__ import annotations

from fs import descriptor
from fs.blobs import BlobStore
from fs.descriptor import Manifest
from fs.digest import chain_ids
from fs.layers import LayerStore
from fs.layout import Layout
from fs.platforms import Platform
from rootless.errors import Conflict, UsageError
from rootless.image import reference
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

    from fs.descriptor import Descriptor, ImageConfig
    from fs.digest import Digest
    from rootless.paths import Paths

#: Annotations of a tag in index.json: the index that the registry served, and the digest of the configuration.
INDEX_DIGEST: Final = "rl.index.digest"
IMAGE_ID: Final = "rl.image.id"

_DIGITS: Final = frozenset("0123456789abcdef")


class Local(NamedTuple):
    """An image in the store; ``reference`` is the canonical name it was found by, or "" if by its id."""

    reference: str
    manifest: Manifest
    config: ImageConfig

    @property
    def id(self) -> Digest:
        return self.manifest.config.digest


class Match(NamedTuple):
    """A tag, or an id, that a name led to."""

    reference: str
    image: Descriptor


def resolve(paths: Paths, name: str, platform: str | None = None) -> Local | None:
    """Return the image that ``name`` means: a reference, a digest, or the beginning of an id.

    None also where it is of another platform than the one asked for.

    Raises:
        UsageError: the name is none.
        Conflict: the beginning of several ids.
    """
    match = find(paths.data, name)
    if match is None:
        return None
    blobs = BlobStore(paths.data)
    if not blobs.has(match.image.digest):
        return None
    manifest = load_manifest(blobs, match.image)
    if not blobs.has(manifest.config.digest):
        return None
    config = descriptor.parse_config(blobs.read(manifest.config.digest, descriptor.MAX_CONFIG))
    if platform and config.platform not in Platform.parse(platform).runs():
        return None
    return Local(match.reference, manifest, config)


def find(data: str, name: str) -> Match | None:
    """Return what ``name`` means among the tags of the store in ``data``, without reading the image."""
    tags = Layout(data).tags()
    by_id = name.removeprefix("sha256:")
    whole_id = name.startswith("sha256:") or len(by_id) == 64
    if not whole_id:
        try:
            ref = reference.parse(name)
        except UsageError:
            if not _is_id(by_id):
                raise
        else:
            image = tags.get(ref.stored())
            if image is not None:
                return Match(ref.stored(), image)
            if ref.digest is not None:
                return _by_digest(tags, ref)
    return _by_id(data, tags, by_id) if _is_id(by_id) else None


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 64 and _DIGITS.issuperset(text)


def _by_digest(tags: dict[str, Descriptor], ref: reference.ImageRef) -> Match | None:
    wanted = str(ref.digest)
    for tag, image in tags.items():
        if wanted in (str(image.digest), image.annotations.get(INDEX_DIGEST)) and name_of(tag) == ref.name:
            return Match(ref.stored(), image)
    return None


def _by_id(data: str, tags: dict[str, Descriptor], prefix: str) -> Match | None:
    found: dict[str, Descriptor] = {}
    for image in tags.values():
        id_ = image_id(data, image)
        if id_.startswith(prefix):
            found.setdefault(id_, image)
    if len(found) > 1:
        raise Conflict(f"{prefix!r} is the beginning of {len(found)} image ids", hint="give more of it: rl images")
    return Match("", next(iter(found.values()))) if found else None


def image_id(data: str, image: Descriptor) -> str:
    """Return the 64 digits of an image's id: the digest of its configuration; "" if it cannot be told."""
    known = image.annotations.get(IMAGE_ID)
    if known:
        return known.partition(":")[2]
    blobs = BlobStore(data)
    return load_manifest(blobs, image).config.digest.encoded if blobs.has(image.digest) else ""


def name_of(tag: str) -> str:
    """Return a canonical name without its tag and digest."""
    head = tag.partition("@")[0]
    host, slash, rest = head.rpartition("/")
    return host + slash + rest.partition(":")[0]


def load_manifest(blobs: BlobStore, image: Descriptor) -> Manifest:
    """Read an image's manifest; where another tool tagged an index, the one for this host."""
    document = descriptor.parse_document(blobs.read(image.digest, descriptor.MAX_MANIFEST), image.media_type)
    if isinstance(document, Manifest):
        return document
    from fs import platforms

    return load_manifest(blobs, document.select(platforms.host()))


def lowers(paths: Paths, manifest: Manifest, config: ImageConfig, fingerprint: str) -> tuple[str, ...] | None:
    """Return the unpacked layers of an image, the topmost first, or None if one is missing under this map."""
    store = LayerStore(paths.layers)
    found = []
    diff_ids = tuple(diff_id for _, diff_id in descriptor.layers_of(manifest, config))
    for diff_id, chain_id in zip(diff_ids, chain_ids(diff_ids), strict=True):
        key = store.find(diff_id, chain_id, fingerprint)
        if key is None:
            return None
        found.append(store.path(key))
    return tuple(reversed(found))
