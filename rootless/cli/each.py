"""Do something to each of several containers: one failure does not stop the others."""

from __future__ import annotations

from rootless.errors import NotFound, RlError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(names: Iterable[str], action: Callable[[str], object], *, missing_ok: bool = False) -> int:
    """Call ``action`` for every name and print the name, as Docker does; return the worst exit code.

    ``missing_ok``: what does not exist is told, but is no failure.
    """
    code = 0
    for name in names:
        try:
            action(name)
        except RlError as error:
            from rootless.cli import errors

            errors.show(error)
            if not (missing_ok and isinstance(error, NotFound)):
                code = max(code, error.verb_exit_code)
        else:
            print(name, flush=True)
    return code
