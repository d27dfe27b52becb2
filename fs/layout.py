"""The store as an OCI image layout: which names mean which images (image-spec image-layout.md).

``index.json`` is the only truth about tags; every other tool that reads a layout can read ours.
"""

from __future__ import annotations

import os

from fs.descriptor import OCI_INDEX, REF_NAME, Descriptor
from fs.document import Fields, load
from fs.flock import Lock
from fs.trouble import writing
from rootless import codec
from rootless.errors import BadImage, StoreError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Final

_MAX_INDEX: Final = 64 << 20  # bytes: 200,000 tags
_EMPTY: Final[dict[str, Any]] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


class Layout:
    """The tags of the store ``data_dir``; reading takes no lock, because changes are renames."""

    def __init__(self, data_dir: str) -> None:
        self._data = data_dir
        self._index = f"{data_dir}/index.json"

    def tags(self) -> dict[str, Descriptor]:
        """Return every name with its image; names are canonical (``docker.io/library/busybox:latest``)."""
        return {ref: self._descriptor(entry) for entry in self._entries() if (ref := _ref(entry))}

    def resolve(self, ref: str) -> Descriptor | None:
        """Return the image called ``ref``, or None if there is none."""
        for entry in self._entries():
            if _ref(entry) == ref:
                return self._descriptor(entry)
        return None

    def descriptors(self) -> tuple[Descriptor, ...]:
        """Return every image, also those that have no name (another tool put them there)."""
        return tuple(self._descriptor(entry) for entry in self._entries())

    def tag(self, ref: str, image: Descriptor) -> Descriptor | None:
        """Let ``ref`` mean ``image``; return what it meant before."""
        named = image._replace(annotations={**image.annotations, REF_NAME: ref}).json()
        return self._replace(ref, named)

    def untag(self, ref: str) -> Descriptor | None:
        """Take the name ``ref`` away; return what it meant, or None if it meant nothing."""
        return self._replace(ref, None)

    def _replace(self, ref: str, new: dict[str, Any] | None) -> Descriptor | None:
        with Lock(f"{self._data}/locks/index"):
            index = self._load()
            entries = index["manifests"]
            old = next((entry for entry in entries if _ref(entry) == ref), None)
            if old != new:
                index["manifests"] = [entry for entry in entries if _ref(entry) != ref] + ([new] if new else [])
                with writing(self._data):
                    self._write("oci-layout", {"imageLayoutVersion": "1.0.0"}, only_new=True)
                    self._write("index.json", index)
        try:
            return None if old is None else self._descriptor(old)
        except StoreError:  # the entry was damaged; now it is not
            return None

    def _entries(self) -> list[Any]:
        entries: list[Any] = self._load()["manifests"]
        return entries

    def _load(self) -> dict[str, Any]:
        try:
            fd = os.open(self._index, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return dict(_EMPTY)
        except OSError as e:
            raise StoreError(f"cannot read {self._index!r}: {e.strerror}") from e
        with open(fd, "rb") as file:
            data = file.read(_MAX_INDEX + 1)
        try:
            index = load(data, "list of images", _MAX_INDEX)
        except BadImage as e:
            raise self._damaged(e) from e
        if not isinstance(index.setdefault("manifests", []), list):
            raise self._damaged(BadImage("its field 'manifests' is no array"))
        return index

    def _descriptor(self, entry: Any) -> Descriptor:
        try:
            if not isinstance(entry, dict):
                raise BadImage("an entry is no object")
            return Descriptor.read(Fields(entry, "index.json"))
        except BadImage as e:
            raise self._damaged(e) from e

    def _damaged(self, error: BadImage) -> StoreError:
        return StoreError(
            f"{self._index!r} is damaged: {error.message}",
            hint=f"move it away and pull the images again: mv {self._index} {self._index}.old",
        )

    def _write(self, name: str, value: dict[str, Any], *, only_new: bool = False) -> None:
        from fs import staging

        target = f"{self._data}/{name}"
        if only_new and os.path.exists(target):
            return
        with staging.new(f"{self._data}/tmp") as directory:
            path = f"{directory}/{name}"
            with open(path, "x", encoding="utf-8") as file:
                file.write(codec.dumps(value))
                file.flush()
                os.fsync(file.fileno())
            os.rename(path, target)
        sync_directory(self._data)


def _ref(entry: Any) -> str:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    ref = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return ref if isinstance(ref, str) else ""


def sync_directory(path: str) -> None:
    """Make the names in a directory durable (fsync(2), Notes)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
