"""``rl run`` and ``rl create``: the only place that sees a container's whole way from words to exit code."""

from __future__ import annotations

import os

from rootless import log
from rootless.engine import starting
from rootless.engine.create import create as make
from rootless.errors import NotATerminal, UsageError
from rootless.runtime.client import Detached
from rootless.tty import detach
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.container.request import RunRequest
    from rootless.engine.create import Created


def run(request: RunRequest) -> int:
    """Create a container, start it, and return its exit code; with ``detach`` print its id and return 0.

    Raises:
        RlError: it could not be created or started.
    """
    _check(request)
    if request.dry_run:
        return _dry_run(request)
    created = make(request)
    _tell(request, created)
    attachment = starting.Attachment(
        stdin=request.interactive and not request.detach,
        output=not request.detach,
        sig_proxy=request.sig_proxy,
        detach_keys=request.detach_keys,
    )
    try:
        code = starting.start(created, attachment, request.tty_size)
    except Detached:
        return 0
    if request.detach:
        print(created.record.id)
    return code


def create(request: RunRequest) -> str:
    """Create a container and return its id."""
    _check(request._replace(interactive=False))
    created = make(request)
    _tell(request, created)
    return created.record.id


def _check(request: RunRequest) -> None:
    detach.parse(request.detach_keys)
    if request.detach and request.dry_run:
        raise UsageError("conflicting options: --detach and --dry-run")
    if request.tty and request.interactive and not request.detach and not os.isatty(0):
        raise NotATerminal("the input device is not a TTY")


def _tell(request: RunRequest, created: Created) -> None:
    """Say in a line each what was chosen on this host; the network always, until it is one."""
    notes: list[str] = []
    if request.network is None and not request.quiet:
        notes.append("network: none (loopback only); --network host shares the host's")
    if request.verbose:
        notes.append(f"storage: {created.rootfs.driver}")
        notes.append(f"ids: {_ids(created)}")
    if request.verbose or (request.tty and request.interactive):
        notes += created.record.notes
    for note in notes:
        log.say(note)


def _ids(created: Created) -> str:
    """Return the map of user ids, container to host, as a person reads it: ``0=1000, 1-65536=100000-165535``."""

    def span(first: int, length: int) -> str:
        return str(first) if length == 1 else f"{first}-{first + length - 1}"

    ranges = created.ids.container.on_host.uids.ranges
    return ", ".join(f"{span(r.inside, r.length)}={span(r.outside, r.length)}" for r in ranges)


def _dry_run(request: RunRequest) -> int:
    """Print what would be done, as data: the specification and every step."""
    from rootless.engine import dryrun

    return dryrun.show(request)
