"""Image documents out of strangers' JSON: descriptors, manifests, indexes, configurations.

Source: image-spec descriptor.md, manifest.md, image-index.md, config.md; Docker's "image manifest
version 2, schema 2". What these functions return is valid; all else is a BadImage naming the field.
"""

from __future__ import annotations

from types import MappingProxyType

from fs import platforms
from fs.digest import Digest
from fs.document import Fields, load
from fs.platforms import Platform
from rootless.errors import BadImage, NotFound
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEX_TYPES: Final = frozenset((OCI_INDEX, DOCKER_LIST))
MANIFEST_TYPES: Final = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIG_TYPES: Final = frozenset((OCI_CONFIG, DOCKER_CONFIG))
#: What to send as Accept when asking a registry for a manifest, best first.
ACCEPT: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

REF_NAME: Final = "org.opencontainers.image.ref.name"  # annotation of a tag in index.json

MAX_MANIFEST: Final = 4 << 20  # bytes; registries refuse more (distribution-spec)
MAX_CONFIG: Final = 8 << 20

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Descriptor(NamedTuple):
    """Where some content is: its type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = _NONE
    platform: Platform | None = None

    @classmethod
    def read(cls, fields: Fields) -> Descriptor:
        """Read a descriptor out of a document."""
        platform = fields.object("platform")
        return cls(
            fields.required_text("mediaType"),
            Digest.parse(fields.required_text("digest")),
            fields.number("size"),
            fields.text_map("annotations") or _NONE,
            _platform(platform) if platform.values else None,
        )

    def json(self) -> dict[str, Any]:
        """Return the descriptor as JSON has it."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.platform:
            out["platform"] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                out["platform"]["variant"] = self.platform.variant
        return out


def _platform(fields: Fields) -> Platform:
    return Platform.of(fields.text("os"), fields.text("architecture"), fields.text("variant"))


class Manifest(NamedTuple):
    """One image for one platform: its configuration, and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = _NONE


class Index(NamedTuple):
    """One image for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = _NONE

    def select(self, wanted: Platform) -> Descriptor:
        """Return the manifest that runs best on ``wanted``; an entry without platform is the last resort.

        Raises:
            NotFound: there is none; the hint lists what there is.
        """
        usable = [d for d in self.manifests if d.media_type in MANIFEST_TYPES or d.media_type in INDEX_TYPES]
        for platform in (*wanted.runs(), None):
            for descriptor in usable:
                if descriptor.platform == platform:
                    return descriptor
        names = sorted({str(d.platform) for d in usable if d.platform and d.platform.os != "unknown"})
        raise NotFound(
            f"no matching manifest for {wanted} in the manifest list entries",
            hint=f"the image exists for: {', '.join(names)}" if names else None,
        )


class HistoryEntry(NamedTuple):
    """One step of an image's making."""

    created: str
    created_by: str
    author: str
    comment: str
    empty_layer: bool


class ImageConfig(NamedTuple):
    """How to run an image; the fields of ``config`` that exist have been checked for their type."""

    raw: dict[str, Any]
    platform: Platform
    architecture: str
    os: str
    created: str  # RFC 3339, or ''
    author: str
    diff_ids: tuple[Digest, ...]
    history: tuple[HistoryEntry, ...]
    config: dict[str, Any]
    user: str
    env: tuple[str, ...]
    entrypoint: tuple[str, ...] | None
    cmd: tuple[str, ...] | None
    working_dir: str
    labels: dict[str, str]
    volumes: tuple[str, ...]
    exposed_ports: tuple[str, ...]
    stop_signal: str


def parse_document(data: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index; ``media_type`` is what the server or a descriptor called it.

    Raises:
        BadImage: malformed, of an unknown or outdated type, or both at once (CVE-2021-41190).
    """
    if media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
        raise _outdated()
    top = Fields(load(data, "manifest", MAX_MANIFEST), "manifest")
    if top.number("schemaVersion", 0) == 1:
        raise _outdated()
    own = top.text("mediaType")
    for name in (own, media_type):
        if name.startswith("application/vnd.") and name not in MANIFEST_TYPES | INDEX_TYPES:
            raise BadImage(f"a manifest of type {name!r} is no image")
    lists, single = "manifests" in top.values, "layers" in top.values or "config" in top.values
    if lists and single:
        raise BadImage("the manifest claims to be a list of manifests and an image at once")
    # A server's generic type (application/json) says nothing; the document's own, or its shape, does.
    kind = next(
        (n for n in (own, media_type) if n in MANIFEST_TYPES | INDEX_TYPES), OCI_INDEX if lists else OCI_MANIFEST
    )
    if own and media_type in MANIFEST_TYPES | INDEX_TYPES and own != media_type:
        raise BadImage(f"the manifest says it is {own!r} but was served as {media_type!r}")
    if lists != (kind in INDEX_TYPES) or not (lists or single):
        raise BadImage(f"the manifest is not of the type that it claims, {kind!r}")
    annotations = top.text_map("annotations") or _NONE
    if lists:
        return Index(kind, top.objects("manifests", Descriptor.read), annotations)
    config = Descriptor.read(top.object("config"))
    return Manifest(kind, config, top.objects("layers", Descriptor.read), annotations)


def parse_manifest(data: bytes, media_type: str = "") -> Manifest:
    """Read the manifest of one image.

    Raises:
        BadImage: malformed, or an index.
    """
    document = parse_document(data, media_type)
    if isinstance(document, Index):
        raise BadImage("expected the manifest of one image, found a list of manifests")
    return document


def parse_index(data: bytes, media_type: str = "") -> Index:
    """Read an index.

    Raises:
        BadImage: malformed, or a manifest.
    """
    document = parse_document(data, media_type)
    if isinstance(document, Manifest):
        raise BadImage("expected a list of manifests, found the manifest of one image")
    return document


def _outdated() -> BadImage:
    return BadImage(
        "the image is in Docker's schema 1, which has been obsolete since 2017",
        hint="push it again with a current tool, for instance: skopeo copy docker://IMAGE docker://IMAGE",
    )


def parse_config(data: bytes) -> ImageConfig:
    """Read an image's configuration.

    Raises:
        BadImage: malformed, or a field has a wrong type.
    """
    raw = load(data, "image configuration", MAX_CONFIG)
    top = Fields(raw, "image configuration")
    rootfs = top.object("rootfs")
    if rootfs.text("type", "layers") != "layers":
        raise BadImage(f"image configuration.rootfs.type is {rootfs.text('type')!r}, not 'layers'")
    config = Fields(top.object("config").values, "config")
    return ImageConfig(
        raw=raw,
        platform=Platform.of(
            top.text("os") or "linux", top.text("architecture") or platforms.host().architecture, top.text("variant")
        ),
        architecture=top.text("architecture"),
        os=top.text("os"),
        created=top.text("created"),
        author=top.text("author"),
        diff_ids=tuple(Digest.parse(text) for text in rootfs.texts("diff_ids")),
        history=top.objects("history", _history),
        config={name: value for name, value in config.values.items() if value is not None},
        user=config.text("User"),
        env=_environment(config),
        entrypoint=config.words("Entrypoint"),
        cmd=config.words("Cmd"),
        working_dir=config.text("WorkingDir"),
        labels=config.text_map("Labels"),
        volumes=config.keys("Volumes"),
        exposed_ports=config.keys("ExposedPorts"),
        stop_signal=config.text("StopSignal"),
    )


def _environment(config: Fields) -> tuple[str, ...]:
    entries = config.texts("Env")
    for i, entry in enumerate(entries):
        if entry.startswith("=") or not entry:
            raise BadImage(f"config.Env[{i}] has no name: {entry[:80]!r}")
    return entries


def _history(fields: Fields) -> HistoryEntry:
    return HistoryEntry(
        fields.text("created"),
        fields.text("created_by"),
        fields.text("author"),
        fields.text("comment"),
        fields.flag("empty_layer"),
    )


def layers_of(manifest: Manifest, config: ImageConfig) -> tuple[tuple[Descriptor, Digest], ...]:
    """Return each layer's blob with its diff id, lowest first.

    Raises:
        BadImage: the two documents disagree, or the configuration is no image's (an artifact).
    """
    if manifest.config.media_type not in CONFIG_TYPES:
        raise BadImage(f"this is no container image but an artifact of type {manifest.config.media_type!r}")
    if len(manifest.layers) != len(config.diff_ids):
        raise BadImage(
            f"the manifest has {len(manifest.layers)} layers, its image configuration {len(config.diff_ids)} diff ids"
        )
    for layer in manifest.layers:
        if layer.media_type.endswith("+encrypted"):
            raise BadImage(
                f"layer {layer.digest} is encrypted", hint="decrypt the image first: skopeo copy --decryption-key"
            )
    return tuple(zip(manifest.layers, config.diff_ids, strict=True))
