"""``rl pull``: download an image."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rootless.cli.table import BOOL, STR, Argument, Option, Verb

if TYPE_CHECKING:
    from rootless.cli.table import Options

VERB: Final = Verb(
    "pull",
    about="Only what is not here yet is downloaded; every byte is checked against its digest.",
    arguments=(Argument("NAME[:TAG|@DIGEST]", "The image, as in debian:12 or ghcr.io/owner/name", complete="image"),),
    options=(
        Option("-q --quiet", BOOL, "Print only the full name at the end"),
        Option("--platform", STR, "Take the image for this platform, as in linux/arm64", "OS/ARCH[/VARIANT]"),
    ),
    examples=(
        ("rl pull debian:12", "from Docker Hub"),
        ("rl pull --platform linux/arm64 registry.example.org/team/app", "from elsewhere, for another machine"),
    ),
)


def execute(options: Options) -> int:
    """Download the image and print its full name."""
    from rootless.engine import images

    quiet = options.flag("quiet")
    print(images.pull(options.arguments[0], platform=options.text("platform"), quiet=quiet, out=sys.stdout))
    return 0
