"""A large image made of this machine's /usr: many small files and some large ones, in three layers, gzip and zstd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Final

from tests.support import cache, oci
from tests.support.oci import Layer

VERSION: Final = 2
ENTRIES: Final = 45_000
SIZE: Final = 500_000_000
SMALL: Final = 128 << 10

#: How the entries are shared out, lowest layer first: a system, what was installed on it, an application.
SHARES: Final = (0.6, 0.3, 0.1)


def large() -> str:
    """Return an OCI layout with the image in the tags ``gzip`` and ``zstd``; ``single``: its lowest layer, gzip.

    Raises:
        Unavailable: it cannot be kept.
    """
    return cache.get(f"bench-large-{VERSION}", _make)


def single(layout: str) -> str:
    """Return the path of the lowest layer's gzip blob."""
    return os.path.realpath(f"{layout}/single.tar.gz")


def _make(target: str) -> None:
    names = list(_choose("/usr"))
    made: dict[str, list[Layer]] = {"gzip": [], "zstd": []}
    layout = oci.Layout(target)
    tar = f"{target}/layer.tar"
    begin = 0
    for share in SHARES:
        end = begin + round(share * len(names))
        _pack(names[begin:end], tar)
        for compression, layers in made.items():
            layers.append(layout.layer(tar, compression))
        begin = end
    os.unlink(tar)
    for compression, layers in made.items():
        layout.tag(compression, layout.image(layers, {}))
    lowest = made["gzip"][0]
    layout.tag("single", layout.image([lowest], {}))
    os.symlink(f"blobs/sha256/{lowest.descriptor['digest'].partition(':')[2]}", f"{target}/single.tar.gz")
    layout.close()


def _choose(top: str) -> Iterator[str]:
    """Yield names in order: small ones, as most in a real layer are, and large ones until the size is reached."""
    chosen: list[str] = []
    big: list[tuple[str, int]] = []
    total = 0
    for name, size in sorted(_walk(top)):
        if size > SMALL:
            big.append((name, size))
        elif len(chosen) < ENTRIES:
            chosen.append(name)
            total += size
    for name, size in big:
        if total + size <= SIZE:
            chosen.append(name)
            total += size
    yield from sorted(chosen)


def _walk(top: str) -> Iterator[tuple[str, int]]:
    for where, _, files in os.walk(top):
        for name in files:
            path = f"{where}/{name}"
            if os.path.islink(path) or os.access(path, os.R_OK):
                yield path, os.lstat(path).st_size


def _pack(names: Sequence[str], tar: str) -> None:
    """Pack files with all directories above them, since a layer without these is a rare kind."""
    wanted = set(names)
    for name in names:
        while (name := os.path.dirname(name)) not in wanted and name != "/":
            wanted.add(name)
    listed = "\0".join(sorted(name.lstrip("/") for name in wanted))
    subprocess.run(
        ("tar", "-C", "/", "-cf", tar, "--format=gnu", "--numeric-owner", "--no-recursion", "--null", "-T", "-"),
        input=os.fsencode(listed),
        check=True,
    )
