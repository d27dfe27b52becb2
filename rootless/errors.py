"""The one family of errors that users see.

    RlError
    ├── UsageError           the command line is wrong
    │   └── NotATerminal         -it without a terminal (1)
    ├── NotFound             no such container, image, file
    ├── Conflict             the name is taken, the container runs
    ├── HostUnsupported      this host lacks or forbids something; the hint lifts it
    ├── StoreError           the store on disk: full, read-only, damaged, not ours
    ├── RegistryError        a registry said no, or said nonsense
    ├── BadImage             an image, a layer or an archive is malformed or hostile
    └── CommandError         the container's command cannot be started
        ├── CommandNotFound      (127)
        └── CommandNotExecutable (126)

Every error says what happened and to what; ``hint`` says what to type next.
"""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import ClassVar


class RlError(Exception):
    """An error with a sentence for the user and, where there is one, the next thing to type.

    ``exit_code`` is what ``rl run`` exits with; the other verbs exit with
    ``verb_exit_code`` as Docker's client does.
    """

    exit_code: ClassVar[int] = 125
    verb_exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RlError):
    """The command line or a value in it cannot be understood."""

    verb_exit_code = 125
    http_status = 400


class NotATerminal(UsageError):
    """A terminal was asked for, but standard input is none; Docker's client exits with 1."""

    exit_code = 1
    verb_exit_code = 1


class NotFound(RlError):
    """There is no such container, image or other object."""

    http_status = 404


class Conflict(RlError):
    """The object is in a state that does not allow the operation."""

    http_status = 409


class HostUnsupported(RlError):
    """The host lacks or forbids what is needed; the hint is what an admin would type."""


class StoreError(RlError):
    """The store cannot be read or written."""


class RegistryError(RlError):
    """A registry refused, failed, or answered nonsense."""


class BadImage(RlError):
    """An image, a layer or an archive is malformed, damaged or hostile."""


class CommandError(RlError):
    """The command of a container cannot be started."""

    http_status = 400


class CommandNotFound(CommandError):
    """The command does not exist in the container."""

    exit_code = 127
    verb_exit_code = 127


class CommandNotExecutable(CommandError):
    """The command exists but cannot be executed."""

    exit_code = 126
    verb_exit_code = 126
