"""A layer's blob to a directory, in one pass: hash, keep, inflate, hash again, write; run by a forked worker."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from fs import compression, extract, helper
from fs.descriptor import Descriptor
from fs.digest import Digest, Verifier
from fs.extract import Extracted
from fs.streams import CHUNK, HashingReader, Readable, ReadAhead
from fs.trouble import explain
from idmap.ranges import UserMap
from rootless.errors import BadImage
from rootless.image.progress import Phase
from rootless.image.unpack_plan import Unpacker

__all__ = ["Job", "Report", "Unpacker", "unpack"]

_REPORT_EVERY: Final = 0.1  # seconds

Report = Callable[[Phase, int], None]


class Job(NamedTuple):
    """One layer to unpack: descriptors that the coordinator opened, since the worker can open no path.

    ``blob_fd``: where the blob is kept while it is downloaded (``fetch``), or the kept blob.
    ``where``: the directory's path, for people.
    """

    layer: Descriptor
    diff_id: Digest
    root_fd: int
    blob_fd: int
    fetch: bool
    where: str


def unpack(job: Job, source: Readable, maps: UserMap, report: Report) -> Extracted:
    """Unpack ``source`` into the job's directory; both digests are checked.

    Raises:
        BadImage: the blob or what it unpacks to is not what the image says, or is hostile.
        RegistryError: the download broke off.
        StoreError: the disk is full, or another trouble of the store.
    """
    try:
        return _unpack(job, source, maps, report)
    except OSError as e:
        raise explain(e, job.where) from e


def _unpack(job: Job, source: Readable, maps: UserMap, report: Report) -> Extracted:
    blob = _Checked(job, source, report)
    plain = HashingReader(compression.open(blob), job.diff_id.algorithm)
    try:
        with contextlib.ExitStack() as stack:
            hands = None
            if helper.is_worthwhile(job.layer.size):
                hands = stack.enter_context(helper.Helper(job.root_fd))
            ahead = stack.enter_context(ReadAhead(plain))  # a thread: after the fork
            extracted = extract.extract(ahead, job.root_fd, maps, hands)
            while ahead.read(CHUNK):  # what follows the end of the archive is part of the digest
                pass
    except BadImage:
        # Damage on the way is the likelier reason, and the better explanation.
        blob.drain()
        raise
    blob.drain()
    if plain.hexdigest() != job.diff_id.encoded:
        raise BadImage(
            f"layer {job.layer.digest} unpacks to {plain.algorithm}:{plain.hexdigest()}, "
            f"but the image's configuration says {job.diff_id}",
            hint="the image is damaged or was tampered with; ask its publisher",
        )
    return extracted


class _Checked:
    """A blob on its way: kept, verified, and told about."""

    def __init__(self, job: Job, source: Readable, report: Report) -> None:
        self._job = job
        self._source = source
        self._report = report
        self._verifier = Verifier(job.layer.digest, job.layer.size)
        self._told = 0.0
        self._phase = Phase.DOWNLOADING if job.fetch else Phase.EXTRACTING

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._verifier.update(data)
        if self._job.fetch:
            view = memoryview(data)
            while view:
                view = view[os.write(self._job.blob_fd, view) :]
        now = time.monotonic()
        if now - self._told >= _REPORT_EVERY:
            self._told = now
            self._report(self._phase, self._verifier.seen)
        return data

    def drain(self) -> None:
        """Read to the end and check the blob's digest."""
        while self.read(CHUNK):
            pass
        if self._job.fetch:
            self._report(Phase.VERIFYING, self._verifier.seen)
        self._verifier.finish()
        if self._job.fetch:
            self._report(Phase.DOWNLOADED, self._verifier.seen)
