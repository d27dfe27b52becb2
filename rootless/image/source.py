"""Where an image comes from: a registry, or this package itself."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from fs.descriptor import Descriptor
from fs.digest import Digest
from fs.streams import Readable
from rootless.image.reference import ImageRef


class Served(NamedTuple):
    """A manifest or index, verified."""

    data: bytes
    media_type: str
    digest: Digest

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))


class Source(Protocol):
    """What a pull asks; all raise NotFound, BadImage or RegistryError."""

    def head(self, ref: ImageRef) -> Digest | None:
        """Return the digest that the reference points to now, where that can be told without a transfer."""
        ...

    def manifest(self, ref: ImageRef, digest: Digest | None = None) -> Served:
        """Return the manifest or index that ``ref``, or ``digest`` of its repository, names."""
        ...

    def small_blob(self, ref: ImageRef, blob: Descriptor, limit: int) -> bytes:
        """Return a verified blob of at most ``limit`` bytes."""
        ...

    def blob(self, ref: ImageRef, blob: Descriptor) -> Readable:
        """Return a reader of a blob, which the caller verifies."""
        ...

    def after_fork(self) -> None:
        """Forget connections that belong to the parent."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
