"""Platforms of images: their text, the host's own, and which others it can run."""

from __future__ import annotations

import os

from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv7": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}
_SYSTEMS: Final = frozenset(("linux", "windows", "darwin", "freebsd", "wasip1"))
_LATER_AMD64: Final = tuple("23456789")
_ARM: Final = tuple("5678")
_PART: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


class Platform(NamedTuple):
    """What an image runs on, in Go's names and normalised: amd64 and not x86_64, arm64 and not arm64/v8."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def of(cls, os_: str, architecture: str, variant: str = "") -> Platform:
        """Return the normal form of the three parts."""
        os_, architecture, variant = os_.lower(), architecture.lower(), variant.lower()
        if architecture in _ARCHITECTURES:
            architecture, implied = _ARCHITECTURES[architecture]
            variant = variant or implied
        if variant.isdigit():
            variant = f"v{variant}"
        if architecture == "arm" and not variant:
            variant = "v7"
        if (architecture, variant) in (("arm64", "v8"), ("arm64", "v8.0"), ("amd64", "v1")):
            variant = ""
        return cls("darwin" if os_ == "macos" else os_, architecture, variant)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``linux/arm64/v8``; the architecture or the system alone is completed from the host.

        Raises:
            UsageError: it is none.
        """
        parts = text.split("/")
        if len(parts) > 3 or not all(part and _PART.issuperset(part) for part in parts):
            raise UsageError(f"{text!r} is not a platform", hint="write it as --platform linux/arm64 or linux/arm/v7")
        if len(parts) > 1:
            return cls.of(*parts)
        if parts[0].lower() in _SYSTEMS:
            return host()._replace(os=parts[0].lower())
        return cls.of("linux", parts[0])

    def runs(self) -> tuple[Platform, ...]:
        """Return every platform that a host of this one can run, best first (the order of containerd)."""
        return tuple(self._replace(architecture=a, variant=v) for a, v in _compatible(self.architecture, self.variant))

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def _compatible(architecture: str, variant: str) -> list[tuple[str, str]]:
    if architecture == "amd64":
        level = int(variant[1:]) if variant[:1] == "v" and variant[1:] in _LATER_AMD64 else 1
        return [("amd64", f"v{n}") for n in range(level, 1, -1)] + [("amd64", ""), ("386", "")]
    if architecture == "arm" and variant[:1] == "v" and variant[1:] in _ARM:
        return [("arm", f"v{n}") for n in range(int(variant[1]), 4, -1)]
    if architecture == "arm64":
        arm = [("arm64", ""), ("arm", "v8"), ("arm", "v7"), ("arm", "v6"), ("arm", "v5")]
        return ([("arm64", variant)] if variant else []) + arm
    return [(architecture, variant)]


def host() -> Platform:
    """Return the platform of this kernel (uname(2))."""
    return Platform.of("linux", os.uname().machine)
