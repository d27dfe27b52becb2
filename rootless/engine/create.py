"""Make a container from its draft: a bundle in the staging area, published by one rename."""

from __future__ import annotations

import os
import time

from fs import flock, staging
from fs.snapshot import choose
from fs.snapshot.driver import Rootfs
from rootless import paths
from rootless.container import record, spec, state, store
from rootless.container.record import ContainerRecord, RootfsRecord
from rootless.engine import bound_files, drafts, image_root
from rootless.engine.apart import apart
from rootless.engine.ids import Entry
from rootless.errors import RlError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fs.snapshot.driver import Driver
    from rootless.container.request import RunRequest
    from rootless.container.spec import Spec
    from rootless.engine.drafts import Draft
    from rootless.engine.ids import Ids
    from rootless.paths import Paths

_DEFAULT_STOP_TIMEOUT = 10  # seconds


class Created(NamedTuple):
    """A container on disk and what was decided for it, so that ``run`` need not read it back."""

    paths: Paths
    record: ContainerRecord
    spec: Spec
    ids: Ids
    driver: Driver
    rootfs: Rootfs

    @property
    def directory(self) -> str:
        """The bundle."""
        return store.directory(self.paths, self.record.id)


def create(request: RunRequest) -> Created:
    """Create the container that ``request`` describes; pull and unpack its image if need be.

    Raises:
        UsageError, NotFound, Conflict, HostUnsupported, StoreError: as their messages say.
    """
    where = open_store()
    drafts.check(where, request)
    image = None if request.rootfs else image_root.find(where, request)
    # From here to the rename no collection may take the layers away.
    with flock.store(where.data):
        return make(drafts.decide(where, request, image))


def open_store() -> Paths:
    """Return the caller's directories, made and checked."""
    where = paths.find()
    paths.ensure_private(where.data)
    paths.ensure_private(where.runtime)
    return where


def make(draft: Draft) -> Created:
    """Write the bundle and publish it."""
    where, request = draft.paths, draft.request
    for volume in request.volumes:
        if volume.kind == "bind" and not os.path.lexists(volume.source):
            os.makedirs(volume.source)
    entry = Entry(where, draft.ids)
    with staging.new(where.tmp, _Remove(entry)) as stage:
        bundle = f"{stage}/bundle"
        os.mkdir(bundle, 0o700)
        os.mkdir(f"{bundle}/log", 0o700)
        made = [*bound_files.write(bundle, draft.files), *_make_rootfs(draft, bundle)]
        _give_away(draft.ids, entry, made)
        _fill(draft, bundle, entry)
        note = _record(draft)
        spec.save(bundle, draft.spec)
        state.save(bundle, state.ContainerState())
        note = _publish(where, bundle, note)
    return Created(where, note, draft.spec, draft.ids, draft.driver, draft.rootfs)


def load(where: Paths, id_: str) -> Created:
    """Read a container back from its bundle."""
    from rootless.engine import ids as engine_ids

    directory = store.directory(where, id_)
    note = record.load(directory)
    ids = engine_ids.recorded(note.uid_map, note.gid_map, note.holder_uid_map, note.holder_gid_map)
    rootfs = Rootfs(*note.rootfs)
    return Created(where, note, spec.load(directory), ids, choose.load(rootfs.driver), rootfs)


class _Remove:
    """Deletes a tree of the container's files, in the namespace whose ids they have."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __call__(self, path: str) -> None:
        from fs import remove

        remove.tree(path, self._entry)


def _staged(draft: Draft, bundle: str) -> Rootfs | None:
    """Return the root file system as it is while the bundle is in the staging area; None for --rootfs."""
    return None if draft.request.rootfs else draft.driver.plan(bundle, draft.lowers)


def _make_rootfs(draft: Draft, bundle: str) -> tuple[str, ...]:
    rootfs = _staged(draft, bundle)
    if rootfs is None:
        return ()
    draft.driver.make(rootfs)
    return tuple(path for path in (rootfs.upper, rootfs.work, rootfs.root) if path)


def _give_away(ids: Ids, entry: Entry, made: list[str]) -> None:
    """Give what was made to the container's root, where that is another id than ours."""
    if ids.host_root == (os.geteuid(), os.getegid()):
        return
    if os.geteuid() == 0:
        for path in made:
            os.chown(path, *ids.host_root, follow_symlinks=False)
        return
    uid, gid = ids.container.maps.uids.to_outside(ids.root[0]), ids.container.maps.gids.to_outside(ids.root[1])
    assert uid is not None and gid is not None  # ``root`` is mapped
    entry.prepare()

    def give() -> None:
        entry()
        for path in made:
            os.chown(path, uid, gid, follow_symlinks=False)

    apart(give, "giving files to the container's root")


def _fill(draft: Draft, bundle: str, entry: Entry) -> None:
    """Make the copy, where the driver makes one, in the namespace whose ids the files have."""
    rootfs = _staged(draft, bundle)
    if rootfs is None or rootfs.driver == "overlay":
        return
    fds = draft.driver.open_fill(rootfs)
    entry.prepare()
    try:

        def fill() -> None:
            entry()
            draft.driver.fill(rootfs, fds)

        apart(fill, "the copy of the image")
    finally:
        for fd in fds:
            os.close(fd)


def _record(draft: Draft) -> ContainerRecord:
    request, ids = draft.request, draft.ids
    own = ids.container.user_namespace
    return ContainerRecord(
        id=draft.id,
        name="",
        created=time.time_ns(),
        image="" if request.rootfs else request.image,
        image_id=str(draft.image.id) if draft.image else "",
        command=draft.spec.process.args,
        layer_keys=tuple(lower.split("/")[-2] for lower in draft.lowers),
        rootfs=RootfsRecord(*draft.rootfs),
        uid_map=ids.container.maps.uids.text() if own else "",
        gid_map=ids.container.maps.gids.text() if own else "",
        holder_uid_map=ids.held.maps.uids.text() if own else "",
        holder_gid_map=ids.held.maps.gids.text() if own else "",
        root_uid=ids.root[0],
        root_gid=ids.root[1],
        network=draft.network,
        open_stdin=request.interactive,
        tty=request.tty,
        auto_remove=request.remove,
        stop_signal=request.stop_signal or draft.defaults.stop_signal or "SIGTERM",
        stop_timeout=_DEFAULT_STOP_TIMEOUT if request.stop_timeout is None else request.stop_timeout,
        labels={**draft.defaults.labels, **_labels(request.labels)},
        request=request,
        notes=tuple(text for text in (ids.held.note, ids.container.note) if text),
    )


def _labels(words: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for word in words:
        key, _, value = word.partition("=")
        labels[key] = value
    return labels


def _publish(where: Paths, bundle: str, note: ContainerRecord) -> ContainerRecord:
    name = store.take_name(where, note.request.name, note.id)
    note = note._replace(name=name)
    try:
        record.save(bundle, note)
        with _Cidfile(note.request.cidfile, note.id):
            store.publish(where, bundle, note.id)
    except BaseException:
        store.release(where, name, note.id)
        raise
    return note


class _Cidfile:
    """``--cidfile``: written before the container is there, so that none is without it; removed on failure."""

    def __init__(self, path: str | None, id_: str) -> None:
        self._path = path
        self._id = id_

    def __enter__(self) -> None:
        if self._path is None:
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as e:
            raise RlError(f"failed to create the container ID file {self._path!r}: {e.strerror}") from e
        try:
            os.write(fd, self._id.encode())
        finally:
            os.close(fd)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self._path is not None:
            os.unlink(self._path)
