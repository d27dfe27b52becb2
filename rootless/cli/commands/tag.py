"""``rl tag``: give an image a further name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rootless.cli.table import Argument, Verb

if TYPE_CHECKING:
    from rootless.cli.table import Options

VERB: Final = Verb(
    "tag",
    arguments=(
        Argument("SOURCE_IMAGE[:TAG]", "The image, by a name or an id", complete="image"),
        Argument("TARGET_IMAGE[:TAG]", "The further name"),
    ),
    examples=(("rl tag debian:12 registry.example.org/base:1", "a name to push it under"),),
)


def execute(options: Options) -> int:
    """Tag; print nothing."""
    from rootless.engine import images

    source, target = options.arguments
    images.tag(source, target)
    return 0
