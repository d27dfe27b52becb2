"""The command line as data: which verbs there are, and the types that describe one.

Each verb declares its options and arguments once, as a ``VERB`` beside its ``execute`` in
``rootless.cli.commands``. ``fast`` parses from it and ``app`` builds Typer's command from it.
"""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from typing import Final, Protocol

BOOL: Final = "bool"
STR: Final = "string"
INT: Final = "int"
LIST: Final = "list"

#: What an option can be worth; a LIST is a tuple.
Value = bool | int | str | tuple[str, ...] | None


class Option(NamedTuple):
    """One option: ``flags`` as typed (``-e --env``; the first long one is its name in messages).

    ``field`` is the key of its value, by default the name; ``panel`` the heading in the help.
    """

    flags: str
    kind: str
    help: str
    metavar: str = ""
    field: str = ""
    default: Value = None
    panel: str = "Options"
    hidden: bool = False

    @property
    def name(self) -> str:
        for flag in self.flags.split():
            if flag.startswith("--"):
                return flag[2:]
        return self.flags

    @property
    def key(self) -> str:
        return self.field or self.name.replace("-", "_")

    @property
    def initial(self) -> Value:
        """The value where the option is not given."""
        if self.default is None and self.kind in (BOOL, LIST):
            return False if self.kind == BOOL else ()
        return self.default


class Argument(NamedTuple):
    """One positional argument, or with ``many`` all that follow; ``complete`` is what its words name."""

    name: str
    help: str
    required: bool = True
    many: bool = False
    complete: str = ""


class Verb(NamedTuple):
    """What a command takes; ``interspersed`` is False where options end at the first argument."""

    name: str
    about: str = ""
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    interspersed: bool = True

    @property
    def usage(self) -> str:
        """The line that Docker prints: ``rl run [OPTIONS] IMAGE [COMMAND] [ARG...]``."""
        words = ["rl", *self.name.split()]
        if self.options:
            words.append("[OPTIONS]")
        for argument in self.arguments:
            words.append(argument.name if argument.required else f"[{argument.name}]")
            if argument.many:
                words.append("[ARG...]" if argument.name == "COMMAND" else f"[{argument.name}...]")
        return " ".join(words)


class Options(NamedTuple):
    """A parsed command line: every option of the verb by its key, and the arguments."""

    verb: str
    values: dict[str, Value]
    arguments: tuple[str, ...] = ()

    def flag(self, key: str) -> bool:
        return self.values[key] is True

    def text(self, key: str) -> str | None:
        return cast("str | None", self.values[key])

    def number(self, key: str) -> int | None:
        return cast("int | None", self.values[key])

    def texts(self, key: str) -> tuple[str, ...]:
        return cast("tuple[str, ...]", self.values[key])


if TYPE_CHECKING:

    class Command(Protocol):
        """What a module of ``rootless.cli.commands`` provides."""

        VERB: Verb

        def execute(self, options: Options) -> int:
            """Translate, call the engine, print; return the exit code."""
            ...


class Entry(NamedTuple):
    """One line of ``rl --help``; ``also`` are further names, ``panel`` the heading."""

    name: str
    summary: str
    panel: str
    also: tuple[str, ...] = ()


_COMMON: Final = "Containers"
_IMAGES: Final = "Images"
_HOST: Final = "This host"

INDEX: Final = (
    Entry("run", "Make a container from an image and run a command in it", _COMMON, ("container run",)),
    Entry("exec", "Run a command in a running container", _COMMON, ("container exec",)),
    Entry("ps", "List containers", _COMMON, ("container ls", "container list", "container ps")),
    Entry("logs", "Show what a container has printed", _COMMON, ("container logs",)),
    Entry("create", "Make a container without starting it", _COMMON, ("container create",)),
    Entry("start", "Start stopped containers", _COMMON, ("container start",)),
    Entry("stop", "Stop running containers, gently first", _COMMON, ("container stop",)),
    Entry("kill", "Send a signal to running containers", _COMMON, ("container kill",)),
    Entry("rm", "Remove containers", _COMMON, ("container rm", "container remove")),
    Entry("attach", "Connect the terminal to a running container", _COMMON, ("container attach",)),
    Entry("wait", "Wait until containers stop, then print their exit codes", _COMMON, ("container wait",)),
    Entry("inspect", "Show everything about containers or images as JSON", _COMMON),
    Entry("pull", "Download an image from a registry", _IMAGES, ("image pull",)),
    Entry("images", "List images", _IMAGES, ("image ls", "image list")),
    Entry("rmi", "Remove images", _IMAGES, ("image rm", "image remove")),
    Entry("tag", "Give an image a further name", _IMAGES, ("image tag",)),
    Entry("login", "Log in to a registry", _IMAGES),
    Entry("logout", "Log out from a registry", _IMAGES),
    Entry("info", "Show what rl can do on this host, and what would lift each limit", _HOST),
    Entry("version", "Show the version of rl", _HOST),
)

#: Words that only group verbs, as Docker has them.
GROUPS: Final = {"container": "Work with containers", "image": "Work with images"}

#: Names that mean a verb with one option already set.
PRESETS: Final[dict[str, tuple[str, str, str]]] = {
    "container inspect": ("inspect", "type", "container"),
    "image inspect": ("inspect", "type", "image"),
}


#: The command line in front of a verb.
RL: Final = Verb(
    "",
    arguments=(Argument("COMMAND", "What to do"),),
    options=(
        Option("-v --verbose", BOOL, "Say which ways were chosen, and why"),
        Option("--version", BOOL, "Print the version"),
    ),
)


def names() -> dict[str, str]:
    """Return every name that can be typed, with the verb it stands for."""
    result = {name: preset[0] for name, preset in PRESETS.items()}
    for entry in INDEX:
        result[entry.name] = entry.name
        for other in entry.also:
            result[other] = entry.name
    return result


def load(verb: str) -> Command:
    """Import the command of ``verb``, and only that one."""
    return cast("Command", __import__(f"rootless.cli.commands.{verb}", fromlist=("VERB",)))
