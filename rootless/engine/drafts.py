"""Decide a container: from what the user said to a draft, with nothing made yet but a missing image pulled."""

from __future__ import annotations

import os

from fs import merged
from fs.snapshot import choose
from fs.snapshot.driver import Rootfs
from rootless import config
from rootless.container import compose, names, store, users
from rootless.container.compose import Confinement, Identity, ImageDefaults, Surroundings
from rootless.engine import bound_files, image_root, requirements
from rootless.engine import ids as engine_ids
from rootless.engine.ids import Entry
from rootless.errors import Conflict, RlError, UsageError
from rootless.isolation import capabilities, masks
from rootless.linux import caps
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fs.snapshot.driver import Driver
    from rootless.container.request import RunRequest, VolumeRequest
    from rootless.container.spec import Spec
    from rootless.container.users import User
    from rootless.engine.ids import Ids
    from rootless.image.local import Local
    from rootless.paths import Paths

_TTY_GID = 5  # Debian's and everybody's group tty


class Draft(NamedTuple):
    """A container as decided; every path in it is where the thing will be.

    ``network``: none, host, or ``container:ID``. ``files``: path inside → text of the files that
    are the container's own and are bound into it.
    """

    paths: Paths
    request: RunRequest
    id: str
    image: Local | None
    defaults: ImageDefaults
    ids: Ids
    network: str
    lowers: tuple[str, ...]
    driver: Driver
    rootfs: Rootfs
    files: dict[str, str]
    spec: Spec

    @property
    def directory(self) -> str:
        """The bundle to be."""
        return store.directory(self.paths, self.id)


def check(paths: Paths, request: RunRequest) -> None:
    """Refuse what cannot be before an image is pulled for it.

    Raises:
        UsageError, Conflict, RlError: as their messages say.
    """
    if request.name is not None:
        store.check_free(paths, names.check(request.name))
    if request.cidfile is not None and os.path.exists(request.cidfile):
        raise RlError(
            f"container ID file found, make sure the other container isn't running or delete {request.cidfile}"
        )
    if request.pull not in ("always", "missing", "never"):
        raise UsageError(f'invalid pull option: \'{request.pull}\': must be one of "always", "missing" or "never"')
    if request.rootfs and not os.path.isdir(request.image):
        raise UsageError(f"--rootfs: {request.image!r} is not a directory")
    for volume in request.volumes:
        _check_volume(volume)
    if request.stop_signal is not None:
        from rootless.container import signals

        signals.number(request.stop_signal)
    _security(request)


def _check_volume(volume: VolumeRequest) -> None:
    if volume.kind == "volume":
        raise UsageError(
            f"named and anonymous volumes are not there yet: {volume.source or volume.target!r}",
            hint=f"bind a directory of yours: -v /absolute/path:{volume.target}",
        )
    if volume.kind == "bind" and not volume.create_source and not os.path.lexists(volume.source):
        raise UsageError(f'invalid mount config for type "bind": bind source path does not exist: {volume.source}')


def decide(paths: Paths, request: RunRequest, image: Local | None) -> Draft:
    """Decide the container; layers that are missing under its id map are unpacked, nothing else is done.

    Raises:
        UsageError, NotFound, HostUnsupported: as their messages say.
    """
    defaults = _defaults(image)
    compose.command(request, defaults)  # says at once if there is nothing to run
    network = _network(paths, request)
    ids = engine_ids.decide(request.userns)
    lowers = image_root.lowers(paths, image, ids) if image is not None else ()
    accounts = _accounts(request, lowers)
    user = _user(request, defaults, ids, accounts)
    ids = engine_ids.decide(request.userns, (user.uid, user.gid), ids.host)
    _check_mapped(user, ids)
    id_ = names.new_id()
    directory = store.directory(paths, id_)
    hostname = request.hostname or (os.uname().nodename if network == "host" else id_[:12])
    driver, rootfs = _rootfs(paths, request, ids, lowers, directory)
    requirements.check(request.require, ids, rootfs.driver, network)
    files = bound_files.decide(request, ids, hostname, network, user, accounts)
    return Draft(
        paths=paths,
        request=request,
        id=id_,
        image=image,
        defaults=defaults,
        ids=ids,
        network=network,
        lowers=lowers,
        driver=driver,
        rootfs=rootfs,
        files=files,
        spec=_spec(request, defaults, ids, user, hostname, network, bound_files.sources(directory, files)),
    )


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


def _network(paths: Paths, request: RunRequest) -> str:
    wanted = request.network
    if wanted is None or wanted in ("default", "none"):
        return "none"
    if wanted == "host":
        return "host"
    kind, _, name = wanted.partition(":")
    if kind == "container" and name:
        return f"container:{store.find(paths, name)}"
    raise Conflict(f"network {wanted} not found", hint="there are none, host and container:NAME")


def _accounts(request: RunRequest, lowers: tuple[str, ...]) -> tuple[str, str]:
    """Return the texts of the image's passwd and group."""
    layers = (os.path.abspath(request.image),) if request.rootfs else lowers
    passwd, group = (
        merged.read_file(layers, name).decode(errors="surrogateescape") for name in ("etc/passwd", "etc/group")
    )
    return passwd, group


def _user(request: RunRequest, defaults: ImageDefaults, ids: Ids, accounts: tuple[str, str]) -> User:
    wanted = request.user if request.user is not None else defaults.user
    if request.user is None and ids.container.user is not None and (request.userns or "").startswith("keep-id"):
        uid, gid = ids.container.user
        wanted = f"{uid}:{gid}"
    return users.resolve(wanted, *accounts)


def _check_mapped(user: User, ids: Ids) -> None:
    maps = ids.container.maps
    if maps.uids.to_outside(user.uid) is None or maps.gids.to_outside(user.gid) is None:
        raise UsageError(
            f"user {user.uid}:{user.gid} does not exist in this container's id map"
            + (f" ({ids.held.note})" if ids.held.note else ""),
            hint="choose another with -u, or make that user yourself with --userns=me",
        )


def _rootfs(
    paths: Paths, request: RunRequest, ids: Ids, lowers: tuple[str, ...], directory: str
) -> tuple[Driver, Rootfs]:
    if request.rootfs:
        return choose.load("plain"), Rootfs("plain", (), "", "", os.path.abspath(request.image))
    forced = request.storage_driver or config.load(paths.config).storage_driver or None
    owner = ids.host_root if os.geteuid() == 0 else None
    choice = choose.choose(paths, forced, enter=Entry(paths, ids), owner=owner)
    driver = choose.load(choice.driver)
    return driver, driver.plan(directory, lowers)


def _spec(
    request: RunRequest,
    defaults: ImageDefaults,
    ids: Ids,
    user: User,
    hostname: str,
    network: str,
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
        hostname=hostname,
        network=network,
        files=files,
        uid_mappings=maps.uids.ranges if own else (),
        gid_mappings=maps.gids.ranges if own else (),
        tty_gid=_TTY_GID if maps.gids.to_outside(_TTY_GID) is not None else None,
    )
    # Groups that do not exist under the map are left out: setgroups(2) would refuse them all.
    groups = tuple(gid for gid in user.groups if maps.gids.to_outside(gid) is not None)
    identity = Identity(user.uid, user.gid, groups, user.home or "/")
    return compose.compose(request, defaults, identity, confinement, around)


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
