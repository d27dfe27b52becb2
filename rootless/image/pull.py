"""Pull an image: find what a reference means, bring its layers, and only then give it its name."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from fs import descriptor, flock, platforms, staging
from fs.blobs import BlobStore
from fs.descriptor import Descriptor, ImageConfig, Index, Manifest
from fs.digest import Digest
from fs.layout import Layout
from fs.platforms import Platform
from rootless.config import Settings
from rootless.errors import BadImage, NotFound, RegistryError
from rootless.image import hello, local
from rootless.image.fetch import Fetcher, Layer, layers_of
from rootless.image.local import IMAGE_ID, INDEX_DIGEST
from rootless.image.progress import Phase, Progress
from rootless.image.reference import DEFAULT_REGISTRY, ImageRef
from rootless.image.source import Served, Source
from rootless.image.unpack_plan import Unpacker
from rootless.paths import Paths, ensure_private

_MAX_NESTING: Final = 3  # indexes within indexes
_LATEST: Final = 10  # rounds: another process may remove what we found


class Pulled(NamedTuple):
    """What a pull came to; ``digest`` is that of what the registry served: an index, or the manifest."""

    reference: ImageRef
    digest: Digest
    manifest: Manifest
    config: ImageConfig
    is_new: bool


class _Image(NamedTuple):
    """One image with the documents that describe it, all verified."""

    served: Served
    chosen: Served
    manifest: Manifest
    config: ImageConfig
    config_data: bytes


def pull(
    paths: Paths,
    ref: ImageRef,
    *,
    platform: str | None,
    unpacker: Unpacker,
    progress: Progress,
    settings: Settings,
    sources: tuple[Source, ...] | None = None,
) -> Pulled:
    """Bring the image that ``ref`` names now into the store, unpacked for ``unpacker``, and tag it.

    ``sources`` are asked in turn; by default the mirrors of the registry and itself.

    Raises:
        NotFound: there is no such image, or none for the platform.
        RegistryError: the registry refuses or fails.
        BadImage: what it sends is damaged or malformed.
        StoreError: the disk is full, or another trouble of the store.
    """
    ensure_private(paths.data)
    progress.line(f"{ref.pointer()}: Pulling from {ref.repository}")
    wanted = Platform.parse(platform) if platform else None
    sources = sources or sources_of(ref, settings)
    try:
        source, image = _find_image(sources, paths, ref, wanted)
        _check_platform(image.config, wanted, ref, progress)
        layers = layers_of(image.manifest, image.config)
        parallel = settings.max_parallel_layers
        fetcher = Fetcher(paths, layers, unpacker, progress, source=source, ref=ref, parallel=parallel)
        _announce(layers, fetcher, progress)
        is_new = _bring_and_tag(paths, ref, image, fetcher)
    finally:
        progress.close()
        for source in sources:
            source.close()
    progress.line(f"Digest: {image.served.digest}")
    state = "Downloaded newer image for" if is_new else "Image is up to date for"
    progress.line(f"Status: {state} {ref.familiar()}")
    return Pulled(ref, image.served.digest, image.manifest, image.config, is_new)


def ensure_unpacked(
    paths: Paths,
    manifest: Manifest,
    config: ImageConfig,
    unpacker: Unpacker,
    progress: Progress,
    *,
    settings: Settings | None = None,
    ref: ImageRef | None = None,
) -> tuple[str, ...]:
    """Return the unpacked layers of an image in the store, the topmost first; unpack from kept blobs what is missing.

    A blob that is not kept (the layer came with another image, compressed differently) is fetched where
    ``ref`` says from where.

    Raises:
        StoreError: a blob that is needed is gone; the hint says to pull.
    """
    found = local.lowers(paths, manifest, config, unpacker.fingerprint)
    if found is not None:
        return found
    layers = layers_of(manifest, config)
    settings = settings or Settings()
    sources = _sources_of_lost(paths, layers, ref, settings)
    parallel = settings.max_parallel_layers
    source = sources[-1] if sources else None
    fetcher = Fetcher(paths, layers, unpacker, progress, source=source, ref=ref, parallel=parallel)
    count = len(fetcher.missing())
    progress.line(f"Unpacking {count} layer{'s' if count != 1 else ''} for this id map from what was pulled before")
    try:
        fetcher.run()
    finally:
        progress.close()
        for each in sources:
            each.close()
    found = local.lowers(paths, manifest, config, unpacker.fingerprint)
    if found is None:
        raise NotFound("the image was removed meanwhile", hint="pull it again: rl pull IMAGE")
    return found


def _sources_of_lost(
    paths: Paths, layers: tuple[Layer, ...], ref: ImageRef | None, settings: Settings
) -> tuple[Source, ...]:
    blobs = BlobStore(paths.data)
    if ref is None or all(blobs.has(layer.blob.digest) for layer in layers):
        return ()
    return sources_of(ref, settings)


def sources_of(ref: ImageRef, settings: Settings) -> tuple[Source, ...]:
    """Return whom to ask for ``ref``: ourselves, or the configured mirrors and then the registry."""
    if hello.is_embedded(ref):
        return (hello.Embedded(),)
    from rootless.image import credentials
    from rootless.image.registry import Registry
    from rootless.image.transport import Transport

    files = credentials.CredentialFiles.of()
    transport = Transport(settings)
    found: list[Source] = []
    if ref.registry == DEFAULT_REGISTRY:
        for url in settings.registry_mirrors:
            url = url if "://" in url else f"https://{url}"
            host = credentials.normalise(url)
            found.append(Registry(host, transport, credentials.find(files, host), url=url))
    found.append(Registry(ref.registry, transport, credentials.find(files, ref.registry, ref.repository)))
    return tuple(found)


def _find_image(
    sources: tuple[Source, ...], paths: Paths, ref: ImageRef, wanted: Platform | None
) -> tuple[Source, _Image]:
    for source in sources[:-1]:
        try:
            return source, _documents(source, paths, ref, wanted)
        except (RegistryError, NotFound):  # a mirror need not have everything
            continue
    return sources[-1], _documents(sources[-1], paths, ref, wanted)


def _documents(source: Source, paths: Paths, ref: ImageRef, wanted: Platform | None) -> _Image:
    """Fetch what describes the image; of what the store has, only the digest is asked for."""
    blobs = BlobStore(paths.data)
    served = _kept_top(source, paths, ref, blobs) or source.manifest(ref)
    chosen = served
    document = descriptor.parse_document(served.data, served.media_type)
    for _ in range(_MAX_NESTING):
        if isinstance(document, Manifest):
            break
        entry = _select(document, wanted)
        chosen = _kept(blobs, entry) or source.manifest(ref, entry.digest)
        document = descriptor.parse_document(chosen.data, entry.media_type)
    if isinstance(document, Index):
        raise BadImage(f"{ref.familiar()} is a list of lists of manifests without end")
    wanted_config = document.config
    with blobs.lock(wanted_config.digest):  # like a layer: two pulls at once ask once
        if blobs.has(wanted_config.digest):
            config_data = blobs.read(wanted_config.digest, descriptor.MAX_CONFIG)
        else:
            config_data = source.small_blob(ref, wanted_config, descriptor.MAX_CONFIG)
            _keep(paths, blobs, wanted_config.digest, config_data)
    return _Image(served, chosen, document, descriptor.parse_config(config_data), config_data)


def _select(index: Index, wanted: Platform | None) -> Descriptor:
    return index.select(wanted or platforms.host())


def _kept_top(source: Source, paths: Paths, ref: ImageRef, blobs: BlobStore) -> Served | None:
    """Return the top document if the store has it: a HEAD does not count against a registry's limits."""
    if ref.digest is None and Layout(paths.data).resolve(ref.stored()) is None:
        return None
    digest = ref.digest or source.head(ref)
    if digest is None or not blobs.has(digest):
        return None
    return Served(blobs.read(digest, descriptor.MAX_MANIFEST), "", digest)


def _kept(blobs: BlobStore, entry: Descriptor) -> Served | None:
    if not blobs.has(entry.digest):
        return None
    return Served(blobs.read(entry.digest, descriptor.MAX_MANIFEST), entry.media_type, entry.digest)


def _keep(paths: Paths, blobs: BlobStore, digest: Digest, data: bytes) -> None:
    """Put a verified document into the store under the digest that others know it by."""
    if not blobs.has(digest):
        with staging.new(paths.tmp) as stage, blobs.new(stage) as ingest:
            ingest.write(data)
            ingest.commit(digest)


def _check_platform(config: ImageConfig, wanted: Platform | None, ref: ImageRef, progress: Progress) -> None:
    if wanted and config.platform not in wanted.runs():
        raise NotFound(
            f"image with reference {ref.familiar()} was found but does not provide the specified platform "
            f"({wanted}): it is for {config.platform}"
        )
    host = platforms.host()
    if not wanted and config.platform not in host.runs():
        progress.line(
            f"WARNING: The image's platform ({config.platform}) does not match this host's ({host}) "
            "and no specific platform was requested"
        )


def _announce(layers: tuple[Layer, ...], fetcher: Fetcher, progress: Progress) -> None:
    missing = {layer.diff_id for layer in fetcher.missing()}
    for layer in layers:
        progress.phase(layer.label, Phase.FS_LAYER if layer.diff_id in missing else Phase.EXISTS)


def _bring_and_tag(paths: Paths, ref: ImageRef, image: _Image, fetcher: Fetcher) -> bool:
    blobs, layout = BlobStore(paths.data), Layout(paths.data)
    media_type = image.manifest.media_type
    tagged = Descriptor(
        media_type,
        image.chosen.digest,
        len(image.chosen.data),
        {INDEX_DIGEST: str(image.served.digest), IMAGE_ID: str(image.manifest.config.digest)},
        image.config.platform,
    )
    for _ in range(_LATEST):
        fetcher.run()
        # While this lock is held nobody removes what the name is about to mean.
        with flock.store(paths.data):
            if fetcher.missing():
                continue
            _keep(paths, blobs, image.manifest.config.digest, image.config_data)
            for document in (image.chosen, image.served):
                _keep(paths, blobs, document.digest, document.data)
            before = layout.tag(ref.stored(), tagged)
            return before is None or before.digest != tagged.digest
    raise NotFound(f"{ref.familiar()} is removed again and again while it is pulled (pid {os.getpid()})")
