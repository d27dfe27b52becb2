"""A deterministic writer of OCI image layouts, independent of the project's code (image-spec, image-layout.md)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final, NamedTuple

#: The date of everything that the writer makes up: 2024-01-01T00:00:00Z.
EPOCH: Final = 1704067200
CREATED: Final = "2024-01-01T00:00:00Z"

OCI: Final = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "index": "application/vnd.oci.image.index.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "tar": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}

Document = dict[str, Any]


def machine() -> str:
    """Return this machine's architecture as Go and OCI name it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Layer(NamedTuple):
    """A blob in the layout and the digest of the tar stream in it."""

    descriptor: Document
    diff_id: str


class Layout:
    """Write blobs, manifests and tags into ``path``, which becomes a valid OCI image layout."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._tags: list[Document] = []
        os.makedirs(f"{path}/blobs/sha256", exist_ok=True)

    def blob(self, data: bytes, media_type: str) -> Document:
        """Store ``data`` and return its descriptor."""
        encoded = hashlib.sha256(data).hexdigest()
        with open(f"{self.path}/blobs/sha256/{encoded}", "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": f"sha256:{encoded}", "size": len(data)}

    def document(self, value: Document, media_type: str) -> Document:
        """Store ``value`` as canonical JSON and return its descriptor."""
        return self.blob(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), media_type)

    def layer(self, tar: str, compression: str = "gzip") -> Layer:
        """Store the tar file ``tar`` as ``tar``, ``gzip`` or ``zstd``."""
        diff_id = hashlib.sha256()
        staged = f"{self.path}/blobs/staged"
        with open(tar, "rb") as source, open(staged, "wb") as raw:
            with _compressor(raw, compression) as out:
                while chunk := source.read(1 << 20):
                    diff_id.update(chunk)
                    out.write(chunk)
        with open(staged, "rb") as f:
            digest = _digest(f)
        size = os.path.getsize(staged)
        os.rename(staged, f"{self.path}/blobs/sha256/{digest}")
        descriptor: Document = {"mediaType": OCI[compression], "digest": f"sha256:{digest}", "size": size}
        return Layer(descriptor, f"sha256:{diff_id.hexdigest()}")

    def image(
        self,
        layers: Sequence[Layer],
        config: Document,
        architecture: str | None = None,
    ) -> Document:
        """Store the configuration and the manifest of an image and return the manifest's descriptor."""
        architecture = architecture or machine()
        body: Document = {
            "architecture": architecture,
            "os": "linux",
            "created": CREATED,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": CREATED, "created_by": f"layer {n}"} for n, _ in enumerate(layers, 1)],
        }
        if architecture == "arm64":
            body["variant"] = "v8"
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI["manifest"],
            "config": self.document(body, OCI["config"]),
            "layers": [layer.descriptor for layer in layers],
        }
        descriptor = self.document(manifest, OCI["manifest"])
        platform_ = {key: body[key] for key in ("architecture", "os", "variant") if key in body}
        return {**descriptor, "platform": platform_}

    def index(self, manifests: Sequence[Document]) -> Document:
        """Store an index over ``manifests`` and return its descriptor."""
        body = {"schemaVersion": 2, "mediaType": OCI["index"], "manifests": list(manifests)}
        return self.document(body, OCI["index"])

    def tag(self, name: str, descriptor: Document) -> None:
        self._tags.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})

    def close(self) -> None:
        """Write what makes the directory a layout: ``oci-layout`` and ``index.json``."""
        with open(f"{self.path}/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        with open(f"{self.path}/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "mediaType": OCI["index"], "manifests": self._tags}, f, sort_keys=True)


def _digest(source: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _compressor(raw: IO[bytes], compression: str) -> Iterator[IO[bytes]]:
    if compression == "tar":
        yield raw
    elif compression == "gzip":
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as out:
            yield out  # type: ignore[misc]
    else:
        with zstd().ZstdFile(raw, "wb") as out:
            yield out


def zstd() -> Any:
    """Return the module that compresses zstd: the standard library's from Python 3.14 on."""
    import importlib

    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


# --- tar streams --------------------------------------------------------------------------------


class TarWriter:
    """Write a tar file with the entries in the order of the calls; every number has a default that is plain."""

    def __init__(self, path: str) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tar.close()

    def _add(self, name: str, kind: bytes, mode: int, uid: int, gid: int, link: str = "", data: bytes = b"") -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, uid, gid, EPOCH
        info.linkname, info.size = link, len(data)
        self._tar.addfile(info, io.BytesIO(data))

    def directory(self, name: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        self._add(name, tarfile.DIRTYPE, mode, uid, gid)

    def file(self, name: str, data: bytes = b"", mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        self._add(name, tarfile.REGTYPE, mode, uid, gid, data=data)

    def symlink(self, name: str, target: str) -> None:
        self._add(name, tarfile.SYMTYPE, 0o777, 0, 0, link=target)

    def hardlink(self, name: str, target: str) -> None:
        self._add(name, tarfile.LNKTYPE, 0o644, 0, 0, link=target)

    def copy(self, info: tarfile.TarInfo, data: IO[bytes] | None = None) -> None:
        self._tar.addfile(info, data)


def difference(lower: str | None, upper: str, target: str, leave_out: Callable[[str], bool]) -> None:
    """Write to ``target`` the layer that turns the tree in the tar file ``lower`` into that of ``upper``.

    Removed names become whiteouts (image-spec, layer.md). Names start without ``./``.
    """
    before = _index(lower, leave_out) if lower else {}
    after = _index(upper, leave_out)
    changed = {name for name, mark in after.items() if before.get(name) != mark}
    changed |= {str(after[name][4]) for name in changed if after[name][0] == tarfile.LNKTYPE}
    needed = {parent for name in changed for parent in _parents(name)} | changed
    removed = sorted(name for name in before if name not in after and (_parent(name) in after or not _parent(name)))
    with TarWriter(target) as out, tarfile.open(upper) as tar:
        for name in removed:
            head, _, tail = name.rpartition("/")
            out.file(f"{head}/.wh.{tail}" if head else f".wh.{tail}")
        for info in tar:
            name = _clean(info.name)
            if name in needed and not leave_out(name):
                info.name = name
                if info.islnk():
                    info.linkname = _clean(info.linkname)
                info.uname = info.gname = ""
                info.mtime = int(info.mtime)
                out.copy(info, tar.extractfile(info) if info.isreg() else None)


def _clean(name: str) -> str:
    return name.removeprefix("./").removeprefix(".").strip("/")


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _parents(name: str) -> Iterable[str]:
    while name := _parent(name):
        yield name


def _index(path: str, leave_out: Callable[[str], bool]) -> dict[str, tuple[object, ...]]:
    entries: dict[str, tuple[object, ...]] = {}
    with tarfile.open(path) as tar:
        for info in tar:
            name = _clean(info.name)
            if not name or leave_out(name):
                continue
            body = tar.extractfile(info) if info.isreg() else None
            # A directory's time changes with every file in it, a file's only with its content.
            link = _clean(info.linkname) if info.islnk() else info.linkname
            entries[name] = (info.type, info.mode, info.uid, info.gid, link, body and _digest(body))
    return entries
