"""What a child does to become a container, as data: each step names itself and has one ``apply``.

A step's ``apply`` runs after fork: no import, no log, no lock. Sources on the host are named by the
key under which ``OpenSources`` opened them, targets by their path inside the new root.
"""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Protocol

    from rootless.runtime.kernel import Kernel
else:
    Protocol = object


class Step(Protocol):
    """One change that a child makes to itself."""

    def apply(self, kernel: Kernel) -> None:
        """Make the change, or raise OSError."""


class FirstOf(NamedTuple):
    """The rungs of a ladder: the first that does not fail with EPERM, EACCES, EINVAL or the like."""

    rungs: tuple[tuple[str, tuple[Step, ...]], ...]

    def apply(self, kernel: Kernel) -> None:
        for position, (name, steps) in enumerate(self.rungs):
            try:
                for step in steps:
                    step.apply(kernel)
            except OSError as e:
                if position + 1 == len(self.rungs):
                    raise
                kernel.note(f"{name}: {e.strerror}")
            else:
                if position:
                    kernel.note(f"using {name}")
                return
