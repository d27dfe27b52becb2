"""What can be done with images: pull, list, remove, tag, inspect; and log in to registries."""

from __future__ import annotations

import calendar
import gc
import re
import sys
import time

from fs import descriptor, flock
from fs.blobs import BlobStore
from fs.digest import chain_ids
from fs.layers import LayerStore
from fs.layout import Layout
from rootless import paths as paths_
from rootless.errors import NotFound, RlError, UsageError
from rootless.image import local, reference
from rootless.image.local import INDEX_DIGEST
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Final, TextIO

    from fs.descriptor import Descriptor, ImageConfig, Manifest
    from fs.digest import Digest
    from rootless.image.local import Local
    from rootless.image.unpack_plan import Unpacker
    from rootless.paths import Paths

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:\d\d)")


class ImageView(NamedTuple):
    """One name of an image, or an image without one.

    ``repository`` is the familiar name; ``tag`` is "" where the name has a digest instead. ``id`` is the
    digest of the configuration, ``digest`` that of what the registry served. ``created``: nanoseconds
    since 1970, 0 where unknown. ``size``: bytes of files, or of blobs where it is not unpacked.
    """

    reference: str
    repository: str
    tag: str
    id: str
    digest: str
    created: int
    size: int


def pull(
    name: str,
    *,
    platform: str | None,
    quiet: bool,
    out: TextIO,
    unpacker: Unpacker | None = None,
    userns: str | None = None,
    for_run: bool = False,
) -> str:
    """Pull an image and return its canonical name; what happens is told on ``out``.

    ``for_run`` leaves out Docker's line about the default tag, as ``run`` does.
    """
    from rootless import config
    from rootless.image import progress
    from rootless.image import pull as pulling

    gc.enable()  # the command line switches it off for verbs that end at once
    where = paths_.find()
    ref = reference.parse(name)
    settings = config.load(where.config)
    shown = progress.choose(out, quiet=quiet)
    if reference.is_name_only(name) and not for_run:
        shown.line(f"Using default tag: {reference.DEFAULT_TAG}")
    paths_.ensure_private(where.data)
    pulling.pull(
        where,
        ref,
        platform=platform,
        unpacker=unpacker or _unpacker(where, userns),
        progress=shown,
        settings=settings,
    )
    return ref.canonical()


def resolve(name: str, platform: str | None = None) -> Local | None:
    """Return the image in the store that a reference, a digest or the beginning of an id means."""
    return local.resolve(paths_.find(), name, platform)


def list_images() -> tuple[ImageView, ...]:
    """Return every name of every image, the newest image first."""
    where = paths_.find()
    blobs = BlobStore(where.data)
    sizes = _Sizes(where)
    views = []
    for tag, image in Layout(where.data).tags().items():
        ref = reference.parse(tag)
        try:
            manifest, config = _load(blobs, image)
        except RlError:  # damaged; it can still be seen and removed
            id_ = local.image_id(where.data, image)
            views.append(ImageView(tag, ref.familiar_name, ref.tag, f"sha256:{id_}", str(image.digest), 0, 0))
            continue
        digest = image.annotations.get(INDEX_DIGEST) or str(image.digest)
        created, size = _nanoseconds(config.created), sizes.of(manifest, config)
        views.append(ImageView(tag, ref.familiar_name, ref.tag, str(manifest.config.digest), digest, created, size))
    return tuple(sorted(views, key=lambda view: (-view.created, view.repository, view.tag)))


def remove(name: str, *, force: bool, unpacker: Unpacker | None = None) -> tuple[str, ...]:
    """Remove an image, or one name of it; return Docker's ``Untagged:`` and ``Deleted:`` lines."""
    from rootless.image import discard

    where = paths_.find()
    if local.find(where.data, name) is None:
        raise _no_such_image(name)
    return discard.discard(where, name, force=force, enter=(unpacker or _unpacker(where, None)).enter)


def tag(source: str, target: str) -> None:
    """Give the image ``source`` the further name ``target``.

    Raises:
        NotFound: there is no such image.
        UsageError: the name is none, or has a digest.
    """
    ref = reference.parse(target)
    if ref.digest is not None:
        raise UsageError("refusing to create a tag with a digest reference")
    where = paths_.find()
    if local.find(where.data, source) is None:
        raise _no_such_image(source)
    with flock.store(where.data):
        match = local.find(where.data, source)
        if match is None:
            raise _no_such_image(source)
        Layout(where.data).tag(ref.stored(), match.image)


def inspect(name: str) -> dict[str, Any]:
    """Return what is known of an image, in the shape of Docker's ``image inspect``.

    Raises:
        NotFound: there is no such image.
    """
    where = paths_.find()
    match = local.find(where.data, name)
    if match is None:
        raise _no_such_image(name)
    manifest, config = _load(BlobStore(where.data), match.image)
    id_ = manifest.config.digest
    tags = {
        tag: image
        for tag, image in Layout(where.data).tags().items()
        if local.image_id(where.data, image) == id_.encoded
    }
    digests = {
        f"{reference.parse(tag).familiar_name}@{image.annotations.get(INDEX_DIGEST) or image.digest}"
        for tag, image in tags.items()
    }
    size = _Sizes(where).of(manifest, config)
    history = config.history[-1] if config.history else None
    return {
        "Id": str(id_),
        "RepoTags": sorted(reference.parse(tag).familiar() for tag in tags if "@" not in tag),
        "RepoDigests": sorted(digests),
        "Parent": "",
        "Comment": history.comment if history else "",
        "Created": config.created,
        "DockerVersion": str(config.raw.get("docker_version") or ""),
        "Author": config.author,
        "Config": config.config,
        "Architecture": config.architecture,
        **({"Variant": config.raw["variant"]} if config.raw.get("variant") else {}),
        "Os": config.os,
        "Size": size,
        "GraphDriver": {"Name": "rl", "Data": _sizes_on_disk(where, manifest, config)},
        "RootFS": {"Type": "layers", "Layers": [str(diff_id) for diff_id in config.diff_ids]},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": match.image._replace(annotations={}).json(),
    }


def login(server: str, username: str, password: str, *, warnings: TextIO | None = None) -> str:
    """Check a password with its registry and keep it where Docker and Podman look for it.

    Raises:
        RegistryError: the registry refuses it.
    """
    from rootless import config
    from rootless.image import credentials
    from rootless.image.credentials import CredentialFiles, Found, Login
    from rootless.image.registry import Registry
    from rootless.image.transport import Transport

    registry = credentials.normalise(server)
    proof = Login(username, password)
    settings = config.load(paths_.find().config)
    client = Registry(registry, Transport(settings), Found(proof, "the command line"))
    try:
        client.ping()
    finally:
        client.close()
    stored = credentials.store(CredentialFiles.of(), registry, proof)
    if stored.plain:
        print(
            f"WARNING! Your password is now in {stored.place}, readable by whoever reads that file.\n"
            "A credential helper (credsStore in that file) would keep it encrypted.",
            file=warnings or sys.stderr,
        )
    return "Login Succeeded"


def logout(server: str) -> str:
    """Forget the password of a registry; return a sentence."""
    from rootless.image import credentials

    registry = credentials.normalise(server)
    if credentials.erase(credentials.CredentialFiles.of(), registry):
        return f"Removing login credentials for {registry}"
    return f"Not logged in to {registry}"


def _unpacker(where: Paths, userns: str | None) -> Unpacker:
    from rootless.engine import ids

    paths_.ensure_private(where.runtime)
    made: Unpacker = ids.unpacker(where, ids.decide(userns))
    return made


def _load(blobs: BlobStore, image: Descriptor) -> tuple[Manifest, ImageConfig]:
    manifest = local.load_manifest(blobs, image)
    return manifest, descriptor.parse_config(blobs.read(manifest.config.digest, descriptor.MAX_CONFIG))


class _Sizes:
    """How much space images take, by whatever map they are unpacked for."""

    def __init__(self, where: Paths) -> None:
        self._store = LayerStore(where.layers)
        self._keys = {(key.split(".")[0], key.endswith("c")): key for key in self._store.keys()}

    def key(self, diff_id: Digest, chain_id: Digest) -> str | None:
        return self._keys.get((diff_id.encoded, False)) or self._keys.get((chain_id.encoded, True))

    def of(self, manifest: Manifest, config: ImageConfig) -> int:
        total = 0
        for (blob, diff_id), chain_id in zip(
            descriptor.layers_of(manifest, config), chain_ids(config.diff_ids), strict=True
        ):
            key = self.key(diff_id, chain_id)
            try:
                total += self._store.info(key).size if key else blob.size
            except RlError:
                total += blob.size
        return total


def _sizes_on_disk(where: Paths, manifest: Manifest, config: ImageConfig) -> dict[str, Any]:
    store, sizes = LayerStore(where.layers), _Sizes(where)
    keys = [sizes.key(*pair) for pair in zip(config.diff_ids, chain_ids(config.diff_ids), strict=True)]
    return {"Layers": [store.path(key) for key in keys if key], "Manifest": str(manifest.media_type)}


def _nanoseconds(text: str) -> int:
    """Return an RFC 3339 time in nanoseconds since 1970; 0 where it is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return 0
    try:
        seconds = calendar.timegm(time.strptime(match[1].upper(), "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0
    zone = match[3]
    if zone not in "Zz":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))


def _no_such_image(name: str) -> NotFound:
    try:
        name = reference.parse(name).familiar()
    except UsageError:
        pass
    return NotFound(f"No such image: {name}", hint="rl images lists the images there are")
