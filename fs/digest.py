"""Content digests: their strict text form, and data checked against them (image-spec descriptor.md, Digests)."""

from __future__ import annotations

import sys

from rootless.errors import BadImage
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, Protocol
else:
    Protocol = object

#: Hexadecimal digits by algorithm; others are refused rather than trusted.
_LENGTHS: Final = {"sha256": 64, "sha512": 128}
_DIGITS: Final = frozenset("0123456789abcdef")
_OWN_SHA256: Final = "_sha2" if sys.version_info >= (3, 12) else "_sha256"


class Digest(NamedTuple):
    """The name of some content by its hash, ``sha256:…`` or ``sha512:…``."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read the text form; ``text`` may be any value out of a stranger's JSON.

        Raises:
            BadImage: it is no digest, or of an algorithm that is not registered.
        """
        if not isinstance(text, str):
            raise BadImage(f"a digest must be a string, not {type(text).__name__}")
        algorithm, _, encoded = text.partition(":")
        length = _LENGTHS.get(algorithm)
        if length is None or len(encoded) != length or not _DIGITS.issuperset(encoded):
            raise BadImage(f"{text[:200]!r} is not a sha256 or sha512 digest")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the sha256 digest of ``data``, which is small: a manifest, a configuration."""
        return cls("sha256", _small_hash("sha256")(data).hexdigest())

    def matches(self, data: bytes) -> bool:
        """Tell whether ``data``, which is small, has this digest."""
        return bool(_small_hash(self.algorithm)(data).hexdigest() == self.encoded)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


class Hash(Protocol):
    """What ``hashlib`` returns."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


def new_hash(algorithm: str = "sha256") -> Hash:
    """Return OpenSSL's hash, several times faster than the interpreter's own on much data."""
    import hashlib  # here: 2 ms that the hot path does not have

    return hashlib.new(algorithm)


def _small_hash(algorithm: str) -> Callable[[bytes], Any]:
    # The interpreter's own where it has one: loading OpenSSL takes longer than hashing a manifest.
    if algorithm == "sha256":
        try:
            return __import__(_OWN_SHA256).sha256  # type: ignore[no-any-return]
        except ImportError:  # distributions may build Python without
            pass
    import hashlib

    return getattr(hashlib, algorithm)  # type: ignore[no-any-return]


class Verifier:
    """Data that passes through, checked against a digest and, where it is known, a size in bytes."""

    def __init__(self, expected: Digest, size: int | None = None) -> None:
        self.expected = expected
        self.size = size
        self.seen = 0
        self._hash = new_hash(expected.algorithm)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes.

        Raises:
            BadImage: there are more than were announced; a hostile server must not fill the disk.
        """
        self.seen += len(data)
        if self.size is not None and self.seen > self.size:
            raise BadImage(f"{self.expected} is longer than the {self.size} bytes that its manifest announces")
        self._hash.update(data)

    def finish(self) -> None:
        """Check that what passed is what was expected.

        Raises:
            BadImage: too few bytes, or other ones.
        """
        if self.size is not None and self.seen < self.size:
            raise BadImage(f"{self.expected} ended after {self.seen} of {self.size} bytes")
        actual = self._hash.hexdigest()
        if actual != self.expected.encoded:
            raise BadImage(f"content has digest {self.expected.algorithm}:{actual}, expected {self.expected}")


def chain_ids(diff_ids: tuple[Digest, ...]) -> tuple[Digest, ...]:
    """Return the id of each layer with all that is below it (image-spec config.md, Layer ChainID)."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
