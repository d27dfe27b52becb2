"""The content store: a blob that is there is whole, and nothing half-written ever has a name."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fs import staging, trouble
from fs.blobs import BlobStore
from fs.digest import Digest
from fs.flock import Busy, Lock
from rootless.errors import BadImage, StoreError

DIGEST = Digest.of(b"content")


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    """Give an empty store."""
    return BlobStore(str(tmp_path))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    """Give a staging directory."""
    with staging.new(f"{tmp_path}/tmp") as path:
        yield path


def test_what_is_put_can_be_read(store: BlobStore, tmp_path: Path) -> None:
    """Under the path that the image-layout specification has."""
    assert store.put(b"content") == DIGEST
    assert store.read(DIGEST, 100) == b"content"
    assert store.has(DIGEST)
    assert store.size(DIGEST) == 7
    assert (tmp_path / "blobs/sha256" / DIGEST.encoded).read_bytes() == b"content"
    assert os.listdir(tmp_path / "tmp") == []


def test_what_is_put_twice_is_there_once(store: BlobStore) -> None:
    """Content names itself."""
    assert store.put(b"content") == store.put(b"content")
    assert list(store.digests()) == [DIGEST]


def test_a_blob_has_no_name_before_it_is_committed(store: BlobStore, directory: str) -> None:
    """And none ever if it is not."""
    with store.new(directory) as ingest:
        ingest.write(b"con")
        assert not store.has(DIGEST)
        ingest.write(b"tent")
        assert ingest.size == 7
        ingest.commit(DIGEST)
        assert store.has(DIGEST)
    with store.new(directory) as dropped:
        dropped.write(b"x")
    assert list(store.digests()) == [DIGEST]
    assert os.listdir(directory) == []


def test_a_download_can_start_again(store: BlobStore, directory: str) -> None:
    """A server that does not know ranges sends all of it."""
    with store.new(directory) as ingest:
        ingest.write(b"rubbish")
        ingest.restart()
        ingest.write(b"content")
        ingest.commit(DIGEST)
    assert store.read(DIGEST, 7) == b"content"


def test_two_blobs_in_one_directory_do_not_meet(store: BlobStore, directory: str) -> None:
    """Layers are fetched side by side."""
    with store.new(directory) as one, store.new(directory) as two:
        one.write(b"content")
        two.write(b"other")
        two.commit(Digest.of(b"other"))
        one.commit(DIGEST)
    assert store.read(DIGEST, 100) == b"content"


def test_a_damaged_blob_is_not_returned(store: BlobStore) -> None:
    """The disk, or somebody, changed it."""
    store.put(b"content")
    Path(store.path(DIGEST)).write_bytes(b"conTent")
    with pytest.raises(StoreError, match="damaged"):
        store.read(DIGEST, 100)


def test_a_blob_that_is_too_long_is_not_read(store: BlobStore) -> None:
    """A manifest of a gigabyte is no manifest."""
    store.put(b"content")
    with pytest.raises(BadImage):
        store.read(DIGEST, 6)


def test_a_missing_blob_says_what_to_do(store: BlobStore) -> None:
    """Pull again."""
    for attempt in (store.open, store.size, lambda digest: store.read(digest, 1)):
        with pytest.raises(StoreError, match="no blob") as caught:
            attempt(DIGEST)
        assert caught.value.hint == "pull the image again"


def test_deleting_says_what_it_freed(store: BlobStore) -> None:
    """Nothing, the second time."""
    store.put(b"content")
    assert store.delete(DIGEST) == 7
    assert store.delete(DIGEST) == 0
    assert list(store.digests()) == []


def test_strangers_files_are_no_blobs(store: BlobStore, tmp_path: Path) -> None:
    """They are left alone."""
    store.put(b"content")
    (tmp_path / "blobs/sha256/README").touch()
    assert list(store.digests()) == [DIGEST]


def test_the_lock_of_a_digest_excludes_and_leaves_no_file(store: BlobStore, tmp_path: Path) -> None:
    """One of two pulls makes the request."""
    with store.lock(DIGEST):
        (path,) = (tmp_path / "locks").iterdir()
        with pytest.raises(Busy), Lock(str(path), wait=False):
            pass
        with store.lock(Digest.of(b"other")):
            pass
    assert os.listdir(tmp_path / "locks") == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EIO, "disk"),
        (errno.ENAMETOOLONG, "too long"),
    ],
    ids=errno.errorcode.get,
)
def test_trouble_while_writing_is_explained(tmp_path: Path, number: int, said: str) -> None:
    """With the place and, where there is one, the way out."""
    error = trouble.explain(OSError(number, os.strerror(number)), f"{tmp_path}/not/there")
    assert said in error.message
    assert str(tmp_path) in error.message
    assert error.hint or number == errno.ENAMETOOLONG


def test_a_full_disk_is_a_store_error(store: BlobStore, directory: str) -> None:
    """/dev/full is one (full(4))."""
    with store.new(directory) as ingest:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, ingest.fd)
        os.close(full)
        with pytest.raises(StoreError, match="space"):
            ingest.write(b"content")
