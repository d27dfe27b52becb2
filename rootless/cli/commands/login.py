"""``rl login``: log in to a registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rootless.cli import errors
from rootless.cli.table import BOOL, STR, Argument, Option, Verb
from rootless.cli.usage import ClientError

if TYPE_CHECKING:
    from rootless.cli.table import Options

HUB: Final = "docker.io"
VERB: Final = Verb(
    "login",
    about="The password is asked for, or read from stdin, and kept where Docker and Podman look for it.",
    arguments=(Argument("SERVER", f"The registry; {HUB} if none is given", required=False),),
    options=(
        Option("-u --username", STR, "Log in as this user", "NAME"),
        Option("-p --password", STR, "The password; others can see it in the list of processes", "PASSWORD"),
        Option("--password-stdin", BOOL, "Read the password from stdin"),
    ),
    examples=(
        ("rl login ghcr.io", "ask for name and password"),
        ("rl login -u me --password-stdin registry.example.org < token", "from a script"),
    ),
)


def execute(options: Options) -> int:
    """Check the password with the registry and keep it."""
    from rootless.engine import images

    server = options.arguments[0] if options.arguments else HUB
    username, password = credentials(options)
    print(images.login(server, username, password))
    return 0


def credentials(options: Options) -> tuple[str, str]:
    """Return name and password, asking for what the command line does not say.

    Raises:
        ClientError: the options contradict each other, or there is nobody to ask.
    """
    username, password = options.text("username"), options.text("password")
    if options.flag("password_stdin"):
        if password is not None:
            raise ClientError("--password and --password-stdin are mutually exclusive")
        if not username:
            raise ClientError("Must provide --username with --password-stdin")
        return username, sys.stdin.read().rstrip("\r\n")
    if password is not None:
        errors.say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if not sys.stdin.isatty() and (not username or password is None):
        raise ClientError(
            "cannot perform an interactive login from a non TTY device", hint="use -u NAME --password-stdin"
        )
    if not username:
        username = input("Username: ").strip()
    if not username:
        raise ClientError("username is required")
    if password is None:
        from getpass import getpass

        password = getpass("Password: ")
    if not password:
        raise ClientError("password is required")
    return username, password
