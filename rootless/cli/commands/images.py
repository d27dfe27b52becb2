"""``rl images``: list images."""

from __future__ import annotations

import time

from rootless.cli import durations, render
from rootless.cli.table import BOOL, Argument, Option, Verb
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from rootless.cli.table import Options
    from rootless.engine.images import ImageView

VERB: Final = Verb(
    "images",
    arguments=(Argument("REPOSITORY[:TAG]", "Show only these", required=False, complete="image"),),
    options=(
        Option("-a --all", BOOL, "For scripts written for Docker: all are always shown", hidden=True),
        Option("-q --quiet", BOOL, "Print ids only"),
        Option("--no-trunc", BOOL, "Cut nothing off"),
        Option("--digests", BOOL, "Show also the digests of the manifests"),
    ),
    examples=(("rl images", "what is here"), ("rl rmi $(rl images -q debian)", "remove all of one repository")),
)


def execute(options: Options) -> int:
    """Print the table, or with -q the ids."""
    from rootless.engine import images

    wanted = options.arguments[0] if options.arguments else ""
    views = sorted(
        (view for view in images.list_images() if matches(view, wanted)),
        key=lambda view: (-view.created, view.repository, view.tag),
    )
    whole, digests = options.flag("no_trunc"), options.flag("digests")
    if options.flag("quiet"):
        print("".join(f"{view.id if whole else render.short_id(view.id)}\n" for view in views), end="")
    else:
        now = time.time_ns()
        header = ("REPOSITORY", "TAG", *(("DIGEST",) if digests else ()), "IMAGE ID", "CREATED", "SIZE")
        print(render.table(header, [row(view, now, whole=whole, digests=digests) for view in views]), end="")
    return 0


def matches(view: ImageView, wanted: str) -> bool:
    """Tell whether ``wanted``, a repository with or without a tag, names the image."""
    if not wanted:
        return True
    full = view.reference.rpartition(":")[0]
    repositories = (view.repository, full, full.removeprefix("docker.io/"))
    return wanted in (*repositories, *(f"{repository}:{view.tag}" for repository in repositories))


def row(view: ImageView, now: int, *, whole: bool, digests: bool) -> tuple[str, ...]:
    """Return the cells of one image."""
    return (
        view.repository or "<none>",
        view.tag or "<none>",
        *((view.digest or "<none>",) if digests else ()),
        view.id if whole else render.short_id(view.id),
        f"{durations.human(now - view.created)} ago" if view.created > 0 else "N/A",
        render.size(view.size),
    )
