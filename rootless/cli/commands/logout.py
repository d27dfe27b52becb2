"""``rl logout``: forget the password of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rootless.cli.commands.login import HUB
from rootless.cli.table import Argument, Verb

if TYPE_CHECKING:
    from rootless.cli.table import Options

VERB: Final = Verb(
    "logout",
    arguments=(Argument("SERVER", f"The registry; {HUB} if none is given", required=False),),
    examples=(("rl logout ghcr.io", "forget what `rl login ghcr.io` kept"),),
)


def execute(options: Options) -> int:
    """Forget the password."""
    from rootless.engine import images

    print(images.logout(options.arguments[0] if options.arguments else HUB))
    return 0
