"""Bring the layers of one image: forked workers download and unpack, this process alone publishes.

Of two processes that want one layer the second waits for the first and finds it done: whoever holds a
blob's lock works on it, and nobody waits for a lock while holding one.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from fs import descriptor, flock, remove, staging
from fs.blobs import BlobStore, Ingest
from fs.descriptor import Descriptor, ImageConfig, Manifest
from fs.digest import Digest, chain_ids
from fs.extract import Extracted
from fs.flock import Busy, Lock
from fs.layers import LayerInfo, LayerStore
from fs.streams import Readable
from fs.trouble import writing
from idmap import owners
from idmap.owners import OwnerRecord
from rootless.errors import StoreError
from rootless.image.inherit import inherit
from rootless.image.progress import Phase, Progress, short
from rootless.image.reference import ImageRef
from rootless.image.source import Source
from rootless.image.unpack import Job
from rootless.image.unpack_plan import Unpacker
from rootless.image.workers import Workers, unpack_result, unpack_work
from rootless.paths import Paths


class Layer(NamedTuple):
    """One layer of an image, by its place from the bottom."""

    place: int
    blob: Descriptor
    diff_id: Digest
    chain_id: Digest

    @property
    def label(self) -> str:
        return short(self.blob.digest.encoded)


class _Staged(NamedTuple):
    """A layer on its way: its directory, and its blob where that is being downloaded."""

    layer: Layer
    path: str
    root_fd: int
    blob_fd: int
    ingest: Ingest | None


class _Held(NamedTuple):
    """An unpacked layer with directories that are to look like those of the layers below."""

    staged: _Staged
    extracted: Extracted


class Fetcher:
    """Brings what is missing of ``layers`` (lowest first) under one map."""

    def __init__(
        self,
        paths: Paths,
        layers: tuple[Layer, ...],
        unpacker: Unpacker,
        progress: Progress,
        *,
        source: Source | None,
        ref: ImageRef | None,
        parallel: int,
    ) -> None:
        self._paths = paths
        self._layers = layers
        self._unpacker = unpacker
        self._progress = progress
        self._source = source
        self._ref = ref
        self._parallel = parallel
        self._blobs = BlobStore(paths.data)
        self._store = LayerStore(paths.layers)
        self._held: dict[int, _Held] = {}
        self._stage = ""
        self._count = 0
        self._process = os.getpid()

    def missing(self) -> list[Layer]:
        """Return the layers that are not unpacked; of equal ones only the lowest, which may serve all."""
        found: dict[Digest, Layer] = {}
        for layer in self._layers:
            if layer.place not in self._held and not self._key(layer):
                found.setdefault(layer.diff_id, layer)
        return list(found.values())

    def run(self) -> None:
        """Bring everything, whoever brings it.

        Raises:
            RlError: a layer cannot be had or unpacked; nothing half is left, and what is complete stays.
        """
        staging.sweep(self._paths.tmp, self._remove)
        flock.sweep(self._paths.data)
        with contextlib.ExitStack() as stack:
            self._stage = stack.enter_context(staging.new(self._paths.tmp, self._remove))
            while missing := self.missing():
                with contextlib.ExitStack() as locks:
                    mine = [layer for layer in missing if self._try_lock(locks, layer)]
                    mine = [layer for layer in mine if not self._key(layer)]  # somebody has just finished it
                    if mine:
                        self._bring(mine, stack)
                        continue
                first = missing[0]
                if not self._key(first):
                    self._progress.phase(first.label, Phase.WAITING)
                    with self._blobs.lock(first.blob.digest):
                        pass
            for place in sorted(self._held):
                self._settle(self._held[place])
            self._held.clear()

    def _key(self, layer: Layer) -> str | None:
        return self._store.find(layer.diff_id, layer.chain_id, self._unpacker.fingerprint)

    def _try_lock(self, locks: contextlib.ExitStack, layer: Layer) -> bool:
        lock = Lock(self._blobs.lock(layer.blob.digest).path, ephemeral=True, wait=False)
        try:
            locks.enter_context(lock)
        except Busy:
            return False
        return True

    def _bring(self, layers: list[Layer], stack: contextlib.ExitStack) -> None:
        # The largest first: it decides when all is done.
        layers = sorted(layers, key=lambda layer: -layer.blob.size)
        lost = [layer for layer in layers if self._source is None and not self._blobs.has(layer.blob.digest)]
        if lost:
            raise StoreError(f"the store has no blob {lost[0].blob.digest}", hint="pull the image again: rl pull IMAGE")
        staged = [self._prepare(layer, stack) for layer in layers]
        jobs = [
            Job(s.layer.blob, s.layer.diff_id, s.root_fd, s.blob_fd, s.ingest is not None, self._paths.data)
            for s in staged
        ]
        with Workers(self._parallel, len(jobs), self._unpacker, unpack_work(jobs, self._unpacker, self._open)) as pool:
            for event in pool.events():
                layer = layers[event.job]
                if event.result is None:
                    self._progress.phase(layer.label, event.phase)
                    self._progress.bytes(layer.label, event.seen, layer.blob.size)
                else:
                    self._finish(staged[event.job], unpack_result(event.result))

    def _prepare(self, layer: Layer, stack: contextlib.ExitStack) -> _Staged:
        self._count += 1
        path = self._store.stage(self._stage, f"layer.{self._count}")
        with writing(path):
            if os.geteuid() == 0 and (self._unpacker.root_uid, self._unpacker.root_gid) != (0, os.getegid()):
                # The worker, as another id, could not even enter it; an ordinary user's worker has its id.
                os.chown(f"{path}/fs", self._unpacker.root_uid, self._unpacker.root_gid)
            root_fd = _opened(stack, os.open(f"{path}/fs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        if self._blobs.has(layer.blob.digest):
            return _Staged(layer, path, root_fd, _opened(stack, self._blobs.open(layer.blob.digest)), None)
        ingest = stack.enter_context(self._blobs.new(self._stage))
        return _Staged(layer, path, root_fd, ingest.fd, ingest)

    def _open(self, job: Job) -> Readable:
        """Return the bytes of a job's blob; called in the worker."""
        if not job.fetch:
            return _File(job.blob_fd)
        assert self._source is not None and self._ref is not None
        if self._process != os.getpid():
            self._process = os.getpid()
            self._source.after_fork()
        return self._source.blob(self._ref, job.layer)

    def _finish(self, staged: _Staged, extracted: Extracted) -> None:
        implicit = tuple(path for path in extracted.implicit if path.strip("./"))
        extracted = extracted._replace(implicit=implicit)
        if implicit:
            self._held[staged.layer.place] = _Held(staged, extracted)
            self._commit(staged, synced=False)
            return
        self._publish(staged, extracted, extracted.records)
        self._commit(staged, synced=True)
        self._progress.phase(staged.layer.label, Phase.COMPLETE)

    def _commit(self, staged: _Staged, *, synced: bool) -> None:
        if staged.ingest is not None:
            staged.ingest.commit(staged.layer.blob.digest, synced=synced and self._one_file_system(staged))

    def _one_file_system(self, staged: _Staged) -> bool:
        return os.fstat(staged.root_fd).st_dev == os.fstat(staged.blob_fd).st_dev

    def _publish(self, staged: _Staged, extracted: Extracted, records: tuple[OwnerRecord, ...]) -> None:
        layer, unpacker = staged.layer, self._unpacker
        chain = layer.chain_id if extracted.implicit else None
        with writing(staged.path):
            if records:
                owners.write(f"{staged.path}/owners", records)
        info = LayerInfo(
            diff_id=str(layer.diff_id),
            chain_id=str(chain or ""),
            entries=extracted.entries,
            size=extracted.size,
            owners=len(records),
            skipped=extracted.skipped,
            implicit=extracted.implicit,
            uids=unpacker.host.uids.text() if unpacker.host else "",
            gids=unpacker.host.gids.text() if unpacker.host else "",
        )
        self._store.publish(staged.path, self._store.key(layer.diff_id, unpacker.fingerprint, chain), info)

    def _settle(self, held: _Held) -> None:
        """Give implicit directories the look of the layers below, all of which are published by now."""
        layer = held.staged.layer
        keys = [key for below in reversed(self._layers[: layer.place]) if (key := self._key(below))]
        with contextlib.ExitStack() as stack:
            fds = tuple(
                _opened(stack, os.open(self._store.path(key), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                for key in keys
            )
            done = self._inherit(held, fds)
        records = list(held.extracted.records)
        for path, lower in done:
            record = owners.find(self._store.owners_path(keys[lower]), path) if lower >= 0 else None
            if record is not None:
                records.append(record)
        self._publish(held.staged, held.extracted, tuple(records))
        self._progress.phase(layer.label, Phase.COMPLETE)

    def _inherit(self, held: _Held, lowers: tuple[int, ...]) -> list[tuple[str, int]]:
        def work(_index: int, _report: object) -> dict[str, list[tuple[str, int]]]:
            return {
                "done": [(path, lower) for path, lower in inherit(held.staged.root_fd, lowers, held.extracted.implicit)]
            }

        done: list[tuple[str, int]] = []
        with Workers(1, 1, self._unpacker, work) as pool:
            for event in pool.events():
                if event.result is not None:
                    done = [(path, lower) for path, lower in event.result["done"]]
        return done

    def _remove(self, path: str) -> None:
        remove.tree(path, self._unpacker.enter)


class _File:
    """A kept blob from its beginning; the descriptor may be shared."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = 0

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._fd, size, self._position)
        self._position += len(data)
        return data


def _opened(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def layers_of(manifest: Manifest, config: ImageConfig) -> tuple[Layer, ...]:
    """Return an image's layers, lowest first."""
    pairs = descriptor.layers_of(manifest, config)
    chain = chain_ids(tuple(diff_id for _, diff_id in pairs))
    return tuple(Layer(place, blob, diff_id, chain[place]) for place, (blob, diff_id) in enumerate(pairs))
