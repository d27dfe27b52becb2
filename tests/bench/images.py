"""The images that the benches run and pull; made once and kept in the cache of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.support import cache, oci, registry, tools
from tests.support.registry import Registry

VERSION: Final = 1
_APPLETS: Final = ("sh", "true", "sleep", "cat", "echo")


def _busybox(target: str) -> None:
    """Make a layout with the image ``busybox`` and, beside it, the same tree unpacked (``rootfs``)."""
    with open(tools.find("busybox"), "rb") as file:
        binary = file.read()
    tar = f"{target}/layer.tar"
    with oci.TarWriter(tar) as out:
        for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
            out.directory(name)
            os.makedirs(f"{target}/rootfs/{name}")
        out.file("bin/busybox", binary, 0o755)
        for name in _APPLETS:
            out.symlink(f"bin/{name}", "busybox")
            os.symlink("busybox", f"{target}/rootfs/bin/{name}")
    with open(f"{target}/rootfs/bin/busybox", "wb") as file:
        file.write(binary)
    os.chmod(f"{target}/rootfs/bin/busybox", 0o755)
    layout = oci.Layout(f"{target}/layout")
    config = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
    layout.tag("latest", layout.image([layout.layer(tar)], config))
    os.unlink(tar)
    layout.close()


def busybox() -> str:
    """Return a directory with ``layout`` and ``rootfs``."""
    return cache.get(f"bench-busybox-{VERSION}", _busybox)


@contextmanager
def served(scratch: str, *pushed: tuple[str, str, str]) -> Iterator[Registry]:
    """Serve images over plain HTTP without a password; each is (layout, its tag, name in the registry)."""
    with registry.serve(f"{scratch}/registry", f"{scratch}/registry/store", tls=False, auth=False) as running:
        for layout, tag, name in pushed:
            registry.push(running, layout, tag, name, "--preserve-digests")
        yield running
