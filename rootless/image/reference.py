"""Image references: what people type, normalised as Docker does (distribution/reference: normalize.go, regexp.go)."""

from __future__ import annotations

import re
from typing import Final

from fs.digest import Digest
from rootless.errors import BadImage, UsageError
from rootless.tuples import NamedTuple

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_LEGACY_REGISTRY: Final = "index.docker.io"
_OFFICIAL: Final = "library/"
_MAX_NAME: Final = 255

_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])"
    r"(?::[0-9]+)?"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_HEX64 = re.compile(r"[a-f0-9]{64}")
_INVALID: Final = "invalid reference format"


class ImageRef(NamedTuple):
    """A full reference; ``tag`` is "" only where ``digest`` is given without one.

    Where both are given the digest decides and the tag is decoration.
    """

    registry: str
    repository: str
    tag: str
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Registry and repository: ``docker.io/library/busybox``."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as people type it: ``busybox``, ``quay.io/a/b``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        short = self.repository.removeprefix(_OFFICIAL)
        # "library/a/b" is not what "a/b" means, and "localhost/a" would be read as a registry.
        if "/" in short:
            return self.name if self.repository.startswith(_OFFICIAL) or _is_host(short.partition("/")[0]) else short
        return short

    def canonical(self) -> str:
        """The one full spelling: ``docker.io/library/busybox:latest``."""
        return self.name + self._suffix()

    def familiar(self) -> str:
        """The short spelling that Docker shows: ``busybox:latest``."""
        return self.familiar_name + self._suffix()

    def stored(self) -> str:
        """The name an image is kept under: by digest where there is one, else by tag."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    def pointer(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> ImageRef:
    """Read a reference as a person types it.

    Raises:
        UsageError: it is not one; the sentence is Docker's.
    """
    if _HEX64.fullmatch(text):
        raise UsageError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    registry, rest = _split_registry(text)
    lowercase_part = rest.partition(":")[0]
    if lowercase_part.lower() != lowercase_part:
        raise UsageError(f"{_INVALID}: repository name ({lowercase_part}) must be lowercase")
    rest, at, digest_text = rest.partition("@")
    repository, colon, tag = rest.partition(":")
    if (
        not _HOST.fullmatch(registry)
        or not all(map(_COMPONENT.fullmatch, repository.split("/")))
        or (colon and not _TAG.fullmatch(tag))
    ):
        raise UsageError(f"{_INVALID}: {text!r}" if text.strip() != text else _INVALID)
    if len(registry) + 1 + len(repository) > _MAX_NAME:
        raise UsageError(f"repository name must not be more than {_MAX_NAME} characters")
    digest = _digest(digest_text) if at else None
    return ImageRef(registry, repository, tag or ("" if digest else DEFAULT_TAG), digest)


def is_name_only(text: str) -> bool:
    """Tell whether a valid reference has neither tag nor digest, so that ``latest`` was assumed."""
    return "@" not in text and ":" not in text.rpartition("/")[2]


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash or not _is_host(first):
        first, rest = DEFAULT_REGISTRY, text
    if first == _LEGACY_REGISTRY:
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def _is_host(part: str) -> bool:
    # A first component is a registry if it could not be an organisation's name.
    return "." in part or ":" in part or part == "localhost" or part.lower() != part


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except BadImage as e:
        raise UsageError(_INVALID) from e
