"""The content store: blobs under their digest, as an OCI image layout has them (image-spec image-layout.md).

A blob that exists is whole and right: it was verified while it was written elsewhere, then renamed here.
"""

from __future__ import annotations

import os

from fs import staging
from fs.digest import Digest
from fs.flock import Lock
from fs.trouble import explain, writing
from rootless.errors import BadImage, StoreError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


class BlobStore:
    """The blobs under ``data_dir``, which exists and is private."""

    def __init__(self, data_dir: str) -> None:
        self._data = data_dir
        self._blobs = f"{data_dir}/blobs"

    def path(self, digest: Digest) -> str:
        """Return where the blob is, or would be."""
        return f"{self._blobs}/{digest.algorithm}/{digest.encoded}"

    def has(self, digest: Digest) -> bool:
        """Tell whether the blob is there."""
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Return the size in bytes.

        Raises:
            StoreError: there is no such blob.
        """
        try:
            return os.stat(self.path(digest)).st_size
        except OSError as e:
            raise _missing(digest, e) from e

    def open(self, digest: Digest) -> int:
        """Return a descriptor for reading, which the caller closes.

        Raises:
            StoreError: there is no such blob.
        """
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as e:
            raise _missing(digest, e) from e

    def read(self, digest: Digest, limit: int) -> bytes:
        """Return all of a small blob, verified.

        Raises:
            BadImage: it is longer than ``limit`` bytes.
            StoreError: there is no such blob, or the disk changed it.
        """
        fd = self.open(digest)
        try:
            size = os.fstat(fd).st_size
            if size > limit:
                raise BadImage(f"{digest} is {size} bytes long; at most {limit} are allowed")
            data = bytearray()
            while chunk := os.read(fd, size + 1 - len(data)):
                data += chunk
        finally:
            os.close(fd)
        if not digest.matches(bytes(data)):
            raise StoreError(
                f"the blob {digest} is damaged on disk", hint=f"remove it and pull again: rm {self.path(digest)}"
            )
        return bytes(data)

    def new(self, staging_dir: str) -> Ingest:
        """Begin a blob in ``staging_dir``, a directory of ``fs.staging`` on the store's file system."""
        return Ingest(self, staging_dir)

    def put(self, data: bytes) -> Digest:
        """Keep a small blob and return its digest."""
        digest = Digest.of(data)
        if not self.has(digest):
            with staging.new(f"{self._data}/tmp") as directory, self.new(directory) as ingest:
                ingest.write(data)
                ingest.commit(digest)
        return digest

    def lock(self, digest: Digest) -> Lock:
        """Return the lock under which a blob is fetched, so that of two pulls one makes the request."""
        return Lock(f"{self._data}/locks/{digest.algorithm}-{digest.encoded}", ephemeral=True)

    def delete(self, digest: Digest) -> int:
        """Remove a blob, under the exclusive store lock; return how many bytes that freed."""
        path = self.path(digest)
        with writing(path):
            try:
                size = os.stat(path).st_size
                os.unlink(path)
            except FileNotFoundError:
                return 0
        return size

    def digests(self) -> Iterator[Digest]:
        """Yield what is there, in no order."""
        for algorithm in ("sha256", "sha512"):
            try:
                names = os.listdir(f"{self._blobs}/{algorithm}")
            except FileNotFoundError:
                continue
            for name in names:
                try:
                    yield Digest.parse(f"{algorithm}:{name}")
                except BadImage:  # a stranger's file is left alone
                    continue


def _missing(digest: Digest, error: OSError) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return StoreError(f"the store has no blob {digest}", hint="pull the image again")
    return StoreError(f"cannot read the blob {digest}: {error.strerror}")


class Ingest:
    """A blob that is being written to ``fd``; without ``commit`` it is gone at the end of the ``with`` block.

    After a failure the writer may go on at ``size`` bytes, or call ``restart``.
    """

    def __init__(self, store: BlobStore, staging_dir: str) -> None:
        self._store = store
        number = 0
        while True:
            self.path = f"{staging_dir}/blob.{number}"
            with writing(self.path):
                try:
                    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                    self.fd = os.open(self.path, flags, 0o644)
                    break
                except FileExistsError:
                    number += 1
        self._committed = False

    @property
    def size(self) -> int:
        """How many bytes have been written."""
        return os.fstat(self.fd).st_size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``."""
        with writing(self.path):
            view = memoryview(data)
            while view:
                view = view[os.write(self.fd, view) :]

    def restart(self) -> None:
        """Forget what has been written."""
        with writing(self.path):
            os.ftruncate(self.fd, 0)
            os.lseek(self.fd, 0, os.SEEK_SET)

    def commit(self, digest: Digest, *, synced: bool = False) -> None:
        """Publish as ``digest``, which the caller has verified.

        ``synced`` says that the file system was synced since the last write; else the blob is now, because
        after a power failure a name must not be there without its content.
        """
        target = self._store.path(digest)
        with writing(target):
            if not synced:
                os.fdatasync(self.fd)
            try:
                os.rename(self.path, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
                os.rename(self.path, target)
        self._committed = True

    def close(self) -> None:
        """Close the descriptor; drop what was not committed."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        if not self._committed:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            except OSError as e:
                raise explain(e, self.path) from e

    def __enter__(self) -> Ingest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
