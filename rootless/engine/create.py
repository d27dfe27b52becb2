"""Make a container: from what the user said to a bundle on disk, published by one rename."""

from __future__ import annotations

import os
import sys
import time

from fs import flock, merged, staging
from fs.snapshot import choose
from fs.snapshot import driver as snapshot
from fs.snapshot.driver import Driver, Rootfs
from rootless import config, paths
from rootless.container import compose, names, record, spec, state, store, users
from rootless.container.compose import Confinement, Identity, ImageDefaults, Surroundings
from rootless.container.record import ContainerRecord, RootfsRecord
from rootless.container.request import RunRequest, VolumeRequest
from rootless.container.spec import Spec
from rootless.container.users import User
from rootless.engine import ids as engine_ids
from rootless.engine.apart import apart
from rootless.engine.ids import Entry, Ids
from rootless.errors import NotFound, RlError, UsageError
from rootless.image import local, reference
from rootless.image.local import Local
from rootless.isolation import capabilities, masks
from rootless.linux import caps
from rootless.paths import Paths
from rootless.tuples import NamedTuple

_DEFAULT_STOP_TIMEOUT = 10
_TTY_GID = 5  # Debian's and everybody's group tty


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
    where = paths.find()
    paths.ensure_private(where.data)
    paths.ensure_private(where.runtime)
    _check(request)
    network = _network(request, where)
    image = None if request.rootfs else _image(where, request)
    defaults = _defaults(image)
    compose.command(request, defaults)  # says at once if there is nothing to run
    # From here to the rename no collection may take the layers away.
    with flock.store(where.data):
        return _create(where, request, image, defaults, network)


def _check(request: RunRequest) -> None:
    if request.name is not None:
        names.check(request.name)
    if request.cidfile is not None and os.path.exists(request.cidfile):
        raise RlError(
            f"container ID file found, make sure the other container isn't running or delete {request.cidfile}"
        )
    if request.pull not in ("always", "missing", "never"):
        raise UsageError(f'invalid pull option: \'{request.pull}\': must be one of "always", "missing" or "never"')
    for volume in request.volumes:
        if volume.kind == "volume":
            raise UsageError(
                f"named and anonymous volumes are not there yet: {volume.source or volume.target!r}",
                hint="bind a directory of yours: -v /absolute/path:" + volume.target,
            )


def _network(request: RunRequest, where: Paths) -> tuple[str, str]:
    """Return the kind of network and, to join one, the container whose network it is."""
    wanted = request.network
    if wanted is None or wanted in ("default", "none"):
        return "none", ""
    if wanted == "host":
        return "host", ""
    kind, _, name = wanted.partition(":")
    if kind == "container" and name:
        return "container", store.find(where, name)
    raise UsageError(f"network {wanted} not found", hint="there are none, host and container:NAME")


def _image(where: Paths, request: RunRequest) -> Local:
    found = None if request.pull == "always" else local.resolve(where, request.image, request.platform)
    if found is not None:
        return found
    if request.pull == "never":
        raise NotFound(f"No such image: {_familiar(request.image)}", hint=f"rl pull {request.image}")

    def pull() -> None:
        from rootless.engine import images

        if request.pull == "missing" and not request.quiet:
            sys.stderr.write(f"Unable to find image '{_familiar(request.image)}' locally\n")
            sys.stderr.flush()
        images.pull(
            request.image,
            platform=request.platform,
            quiet=request.quiet,
            out=sys.stderr,
            userns=request.userns,
            for_run=True,
        )

    apart(pull, "the pull")
    found = local.resolve(where, request.image, request.platform)
    if found is None:
        raise NotFound(f"No such image: {_familiar(request.image)}", hint="it was removed meanwhile: try again")
    return found


def _familiar(name: str) -> str:
    return reference.parse(name).familiar()


def _defaults(image: Local | None) -> ImageDefaults:
    if image is None:
        return ImageDefaults()
    said = image.config
    return ImageDefaults(
        environment=said.env,
        entrypoint=said.entrypoint or (),
        command=said.cmd or (),
        workdir=said.working_dir,
        user=said.user,
        stop_signal=said.stop_signal,
        labels=said.labels,
    )


def _create(
    where: Paths, request: RunRequest, image: Local | None, defaults: ImageDefaults, network: tuple[str, str]
) -> Created:
    wanted_user = request.user if request.user is not None else defaults.user
    ids = engine_ids.decide(request.userns)
    lowers = _lowers(where, image, ids) if image is not None else ()
    passwd, group = _accounts(request, lowers)
    if request.user is None and not defaults.user and ids.container.user is not None:
        user = users.resolve(f"{ids.container.user[0]}:{ids.container.user[1]}", passwd, group)
    else:
        user = users.resolve(wanted_user, passwd, group)
    ids = engine_ids.decide(request.userns, (user.uid, user.gid))
    _check_mapped(user, wanted_user, ids)
    id_ = names.new_id()
    hostname = request.hostname or (os.uname().nodename if network[0] == "host" else id_[:12])
    with staging.new(where.tmp, _Remove(where, ids)) as stage:
        bundle = f"{stage}/bundle"
        os.mkdir(bundle, 0o700)
        os.mkdir(f"{bundle}/log", 0o700)
        driver, rootfs = _rootfs(where, request, ids, lowers, bundle)
        files = _files(bundle, request, ids, hostname, network[0], user, passwd, group)
        _give_away(where, ids, (rootfs.upper, rootfs.work, rootfs.root, *(path for _, path in files)), bundle)
        made = _spec(where, request, defaults, ids, user, hostname, network, files)
        final = store.directory(where, id_)
        # The paths inside the documents are those that the bundle will have once it is published.
        made = _moved_spec(made, bundle, final)
        rootfs = _moved(rootfs, bundle, final)
        note = ContainerRecord(
            id=id_,
            name="",
            created=time.time_ns(),
            image=_shown_image(request),
            image_id=str(image.id) if image else "",
            command=made.process.args,
            manifest="",
            layer_keys=tuple(lower.split("/")[-2] for lower in lowers),
            rootfs=RootfsRecord(*rootfs),
            uid_map=ids.container.maps.uids.text() if ids.container.user_namespace else "",
            gid_map=ids.container.maps.gids.text() if ids.container.user_namespace else "",
            holder_uid_map=ids.held.maps.uids.text() if ids.container.user_namespace else "",
            holder_gid_map=ids.held.maps.gids.text() if ids.container.user_namespace else "",
            root_uid=ids.root[0],
            root_gid=ids.root[1],
            network=network[0] if network[0] != "container" else f"container:{network[1]}",
            open_stdin=request.interactive,
            tty=request.tty,
            auto_remove=request.remove,
            stop_signal=request.stop_signal or defaults.stop_signal or "SIGTERM",
            stop_timeout=_DEFAULT_STOP_TIMEOUT if request.stop_timeout is None else request.stop_timeout,
            labels={**defaults.labels, **_labels(request.labels)},
            request=request,
            notes=tuple(text for text in (ids.held.note, ids.container.note) if text),
        )
        spec.save(bundle, made)
        state.save(bundle, state.ContainerState())
        note = _publish(where, bundle, note)
    if request.cidfile is not None:
        _write_cidfile(request.cidfile, id_)
    return Created(where, note, made, ids, driver, rootfs)


def _publish(where: Paths, bundle: str, note: ContainerRecord) -> ContainerRecord:
    name = store.take_name(where, note.request.name, note.id)
    note = note._replace(name=name)
    try:
        record.save(bundle, note)
        store.publish(where, bundle, note.id)
    except BaseException:
        store.release(where, name, note.id)
        raise
    return note


class _Remove:
    """Deletes a tree of the container's files, in the namespace whose ids they have."""

    def __init__(self, where: Paths, ids: Ids) -> None:
        self._where = where
        self._ids = ids

    def __call__(self, path: str) -> None:
        from fs import remove

        remove.tree(path, Entry(self._where, self._ids))


def _lowers(where: Paths, image: Local, ids: Ids) -> tuple[str, ...]:
    fingerprint = ids.container.on_host.fingerprint()
    found = local.lowers(where, image.manifest, image.config, fingerprint)
    if found is None:
        unpacker = engine_ids.unpacker(where, ids)

        def unpack() -> None:
            from rootless.image import progress, pull

            reporter = progress.choose(sys.stderr)
            pull.ensure_unpacked(where, image.manifest, image.config, unpacker, reporter)

        apart(unpack, "the unpacking")
        found = local.lowers(where, image.manifest, image.config, fingerprint)
        if found is None:
            raise NotFound("the image's layers were removed meanwhile", hint="type the command again")
    return found


def _accounts(request: RunRequest, lowers: tuple[str, ...]) -> tuple[str, str]:
    layers = (os.path.abspath(request.image),) if request.rootfs else lowers
    if request.rootfs and not os.path.isdir(request.image):
        raise UsageError(f"--rootfs: {request.image!r} is not a directory")
    return (
        merged.read_file(layers, "etc/passwd").decode(errors="surrogateescape"),
        merged.read_file(layers, "etc/group").decode(errors="surrogateescape"),
    )


def _check_mapped(user: User, wanted: str, ids: Ids) -> None:
    maps = ids.container.maps
    if maps.uids.to_outside(user.uid) is not None and maps.gids.to_outside(user.gid) is not None:
        return
    raise UsageError(
        f"user {wanted or user.uid!r} ({user.uid}:{user.gid}) does not exist in this container's id map"
        + (f" ({ids.held.note})" if ids.held.note else ""),
        hint="choose another with -u, or make that user yourself with --userns=me",
    )


def _rootfs(where: Paths, request: RunRequest, ids: Ids, lowers: tuple[str, ...], bundle: str) -> tuple[Driver, Rootfs]:
    owner = ids.host_root if os.geteuid() == 0 else None
    if request.rootfs:
        return choose.load("plain"), Rootfs("plain", (), "", "", os.path.abspath(request.image))
    entry = Entry(where, ids)
    forced = request.storage_driver or config.load(where.config).storage_driver or None
    choice = choose.choose(where, forced, enter=entry, owner=owner)
    driver = choose.load(choice.driver)
    rootfs = driver.plan(bundle, lowers)
    driver.make(rootfs, owner)
    if choice.driver == "plain":
        entry.prepare()
        _fill(driver, rootfs, entry)
    return driver, rootfs


def _give_away(where: Paths, ids: Ids, made: tuple[str, ...], bundle: str) -> None:
    """Give what was made in ``bundle`` to the container's root where that is another id of an ordinary user."""
    if os.geteuid() == 0 or ids.host_root == (os.geteuid(), os.getegid()):
        return
    uid, gid = ids.container.maps.uids.to_outside(ids.root[0]), ids.container.maps.gids.to_outside(ids.root[1])
    assert uid is not None and gid is not None  # ``root`` is mapped
    entry = Entry(where, ids)
    entry.prepare()

    def give() -> None:
        entry()
        for path in made:
            if path.startswith(f"{bundle}/"):
                os.chown(path, uid, gid, follow_symlinks=False)

    apart(give, "giving files to the container's root")


def _fill(driver: Driver, rootfs: Rootfs, entry: Entry) -> None:
    """Make the copy in the namespace whose ids the files have."""
    fds = (*(snapshot.open_directory(lower) for lower in rootfs.lowers), snapshot.open_directory(rootfs.root))
    try:

        def fill() -> None:
            entry()
            driver.fill(rootfs, fds)

        apart(fill, "the copy of the image")
    finally:
        for fd in fds:
            os.close(fd)


def _moved(rootfs: Rootfs, before: str, after: str) -> Rootfs:
    def move(path: str) -> str:
        return after + path[len(before) :] if path.startswith(f"{before}/") else path

    lowers = tuple(move(lower) for lower in rootfs.lowers)
    return Rootfs(rootfs.driver, lowers, move(rootfs.upper), move(rootfs.work), move(rootfs.root))


def _moved_spec(made: Spec, before: str, after: str) -> Spec:
    return made._replace(
        mounts=tuple(
            m._replace(source=after + m.source[len(before) :]) if m.source.startswith(f"{before}/") else m
            for m in made.mounts
        )
    )


def _spec(
    where: Paths,
    request: RunRequest,
    defaults: ImageDefaults,
    ids: Ids,
    user: User,
    hostname: str,
    network: tuple[str, str],
    files: tuple[tuple[str, str], ...],
) -> Spec:
    keep = capabilities.effective(request.cap_add, request.cap_drop, privileged=request.privileged)
    if not ids.container.user_namespace:
        keep &= caps.capget()[1]  # real root may itself lack some
    seccomp, no_new_privileges = _security(request)
    confinement = Confinement(
        capabilities=capabilities.names(keep),
        masked_paths=() if request.privileged else masks.MASKED,
        readonly_paths=() if request.privileged else masks.READONLY,
        seccomp=seccomp,
        no_new_privileges=no_new_privileges,
    )
    maps = ids.container.maps
    own = ids.container.user_namespace
    around = Surroundings(
        id="",
        hostname=hostname,
        network=network[0],
        network_path=f"container:{network[1]}" if network[0] == "container" else "",
        files=files,
        uid_mappings=tuple((r.inside, r.outside, r.length) for r in maps.uids.ranges) if own else (),
        gid_mappings=tuple((r.inside, r.outside, r.length) for r in maps.gids.ranges) if own else (),
        tty_gid=_TTY_GID if maps.gids.to_outside(_TTY_GID) is not None else None,
    )
    identity = Identity(user.uid, user.gid, _mapped_groups(user, ids), user.home or "/")
    return compose.compose(request._replace(volumes=_volumes(request.volumes)), defaults, identity, confinement, around)


def _mapped_groups(user: User, ids: Ids) -> tuple[int, ...]:
    """Leave out groups that do not exist under the map: setgroups(2) would refuse them all."""
    return tuple(gid for gid in user.groups if ids.container.maps.gids.to_outside(gid) is not None)


def _security(request: RunRequest) -> tuple[str, bool]:
    seccomp = "unconfined" if request.privileged else "default"
    no_new_privileges = False
    for option in request.security_opt:
        key, _, value = option.replace(":", "=", 1).partition("=")
        if key == "seccomp" and value in ("unconfined", "default", "builtin"):
            seccomp = "unconfined" if value == "unconfined" else "default"
        elif key == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = value != "false"
        elif key in ("label", "apparmor", "systempaths"):
            continue  # no effect: security modules are the host's own business
        else:
            raise UsageError(
                f"invalid --security-opt: {option!r}",
                hint="there are seccomp=unconfined and no-new-privileges; profiles of your own come later",
            )
    return seccomp, no_new_privileges


def _volumes(volumes: tuple[VolumeRequest, ...]) -> tuple[VolumeRequest, ...]:
    for volume in volumes:
        if volume.kind == "bind" and not os.path.lexists(volume.source):
            if not volume.create_source:
                raise UsageError(
                    f'invalid mount config for type "bind": bind source path does not exist: {volume.source}'
                )
            os.makedirs(volume.source)
    return volumes


def _files(
    bundle: str,
    request: RunRequest,
    ids: Ids,
    hostname: str,
    network: str,
    user: User,
    passwd: str,
    group: str,
) -> tuple[tuple[str, str], ...]:
    """Write the files that are the container's own and bound into it; return (path inside, path outside)."""
    os.mkdir(f"{bundle}/files", 0o700)
    hosts = _read_host("/etc/hosts") if network == "host" else _hosts(hostname, request.add_hosts)
    wanted = {
        "/etc/hosts": hosts,
        "/etc/hostname": f"{hostname}\n",
        "/etc/resolv.conf": _read_host("/etc/resolv.conf"),
    }
    if request.userns is not None and request.userns.startswith(("keep-id", "me")):
        host = ids.host
        added = users.keep_id_lines(
            passwd, group, name=host.user, uid=user.uid, gid=user.gid, home=_home(request), shell="/bin/sh"
        )
        if added.passwd:
            wanted["/etc/passwd"] = passwd + added.passwd
        if added.group:
            wanted["/etc/group"] = group + added.group
    owner = ids.host_root if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    made = []
    for inside, text in wanted.items():
        path = f"{bundle}/files/{inside.rpartition('/')[2]}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)
            os.write(fd, text.encode(errors="surrogateescape"))
            if owner != (os.geteuid(), os.getegid()):
                os.fchown(fd, *owner)
        finally:
            os.close(fd)
        made.append((inside, path))
    return tuple(made)


def _home(request: RunRequest) -> str:
    return request.workdir or "/"


def _hosts(hostname: str, extra: tuple[str, ...]) -> str:
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", f"127.0.0.1\t{hostname}"]
    for entry in extra:
        name, _, address = entry.replace("=", ":", 1).partition(":")
        if not name or not address:
            raise UsageError(f'invalid argument "{entry}" for "--add-host" flag: bad format for add-host: "{entry}"')
        lines.append(f"{address.strip('[]')}\t{name}")
    return "\n".join(lines) + "\n"


def _read_host(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""  # a host without the file has nothing to pass on


def _labels(words: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for word in words:
        key, _, value = word.partition("=")
        labels[key] = value
    return labels


def _shown_image(request: RunRequest) -> str:
    return "" if request.rootfs else request.image


def _write_cidfile(path: str, id_: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise RlError(f"failed to create the container ID file {path!r}: {e.strerror}") from e
    try:
        os.write(fd, id_.encode())
    finally:
        os.close(fd)
