"""The image of a container to be: found, or pulled, and its layers unpacked for the container's ids."""

from __future__ import annotations

import sys

from rootless.engine import ids as engine_ids
from rootless.engine.apart import apart
from rootless.errors import NotFound
from rootless.image import local, reference
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.container.request import RunRequest
    from rootless.engine.ids import Ids
    from rootless.image.local import Local
    from rootless.paths import Paths


def find(paths: Paths, request: RunRequest) -> Local:
    """Return the image; pull it as ``--pull`` says, in a process that ends first.

    Raises:
        NotFound: it is not here and must not be pulled, or it does not exist.
        RegistryError: as the pull says.
    """
    found = None if request.pull == "always" else local.resolve(paths, request.image, request.platform)
    if found is not None:
        return found
    familiar = reference.parse(request.image).familiar()
    if request.pull == "never":
        raise NotFound(f"No such image: {familiar}", hint=f"rl pull {request.image}")
    if request.pull == "missing" and not request.quiet:
        sys.stderr.write(f"Unable to find image '{familiar}' locally\n")
        sys.stderr.flush()

    def pull() -> None:
        from rootless.engine import images

        images.pull(
            request.image,
            platform=request.platform,
            quiet=request.quiet,
            out=sys.stderr,
            userns=request.userns,
            for_run=True,
        )

    apart(pull, "the pull")
    found = local.resolve(paths, request.image, request.platform)
    if found is None:
        raise NotFound(f"No such image: {familiar}", hint="it was removed meanwhile: type the command again")
    return found


def lowers(paths: Paths, image: Local, ids: Ids) -> tuple[str, ...]:
    """Return the image's unpacked layers, the topmost first; those that this id map lacks are unpacked now.

    Raises:
        NotFound: they, or the blobs to unpack them from, are gone.
    """
    fingerprint = ids.container.on_host.fingerprint()
    found = local.lowers(paths, image.manifest, image.config, fingerprint)
    if found is not None:
        return found
    unpacker = engine_ids.unpacker(paths, ids)

    def unpack() -> None:
        from rootless.image import progress, pull

        pull.ensure_unpacked(paths, image.manifest, image.config, unpacker, progress.choose(sys.stderr))

    apart(unpack, "the unpacking")
    found = local.lowers(paths, image.manifest, image.config, fingerprint)
    if found is None:
        raise NotFound("the image's layers were removed meanwhile", hint="type the command again")
    return found
