"""Image references: what people type, normalised as Docker does (distribution/reference: normalize.go, regexp.go)."""

from __future__ import annotations

from fs.digest import Digest
from rootless.errors import BadImage, UsageError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_LEGACY_REGISTRY: Final = "index.docker.io"
_OFFICIAL: Final = "library/"
_MAX_NAME: Final = 255

# By hand and not by ``re``, which takes longer to load than all of this to run.
_DIGITS: Final = frozenset("0123456789")
_HEX: Final = frozenset("0123456789abcdef")
_LOWER: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ") | _LOWER
_TAG: Final = _ALNUM | frozenset("_.-")
_MAX_TAG: Final = 128
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
    if len(text) == 64 and _HEX.issuperset(text):
        raise UsageError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    registry, rest = _split_registry(text)
    lowercase_part = rest.partition(":")[0]
    if lowercase_part.lower() != lowercase_part:
        raise UsageError(f"{_INVALID}: repository name ({lowercase_part}) must be lowercase")
    rest, at, digest_text = rest.partition("@")
    repository, colon, tag = rest.partition(":")
    if not _is_registry(registry) or not all(map(_is_component, repository.split("/"))) or (colon and not _is_tag(tag)):
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


def _is_registry(text: str) -> bool:
    """Tell whether ``text`` is a host name or [IPv6] with or without a port."""
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return bool(bracket and address) and (_HEX | frozenset("ABCDEF:")).issuperset(address) and _is_port(port)
    host, colon, port = text.partition(":")
    return all(map(_is_label, host.split("."))) and _is_port(colon + port)


def _is_port(text: str) -> bool:
    return not text or (len(text) > 1 and text[0] == ":" and _DIGITS.issuperset(text[1:]))


def _is_label(text: str) -> bool:
    return bool(text) and text[0] in _ALNUM and text[-1] in _ALNUM and _ALNUM.issuperset(text.replace("-", ""))


def _is_component(text: str) -> bool:
    """Tell whether ``text`` is letters and digits with separators between: one dot, one or two _, or hyphens."""
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    separator = ""
    for character in text:
        if character in _LOWER:
            if separator not in ("", ".", "_", "__") and separator.strip("-"):
                return False
            separator = ""
        elif character in "._-":
            separator += character
        else:
            return False
    return True


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= _MAX_TAG and text[0] not in ".-" and _TAG.issuperset(text)


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except BadImage as e:
        raise UsageError(_INVALID) from e
