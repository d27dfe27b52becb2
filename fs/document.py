"""JSON out of strangers' hands, read field by field: a wrong type is a BadImage that names the field."""

from __future__ import annotations

from rootless import codec
from rootless.errors import BadImage
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeVar

    _T = TypeVar("_T")

#: No JSON number in an image may exceed what Go's int64 holds.
_MAX_INT: Final = 2**63 - 1
_KINDS: Final = {
    "NoneType": "null",
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "str": "a string",
    "list": "an array",
    "dict": "an object",
}


def load(data: bytes, what: str, limit: int) -> dict[str, Any]:
    """Parse a JSON object of at most ``limit`` bytes; ``what`` names it in errors ("manifest").

    Raises:
        BadImage: too long, not UTF-8, not JSON, nested too deeply, or not an object.
    """
    if len(data) > limit:
        raise BadImage(f"the {what} is {len(data)} bytes long; at most {limit} are allowed")
    try:
        value = codec.loads(data)
    except RecursionError as e:
        raise BadImage(f"the {what} is nested too deeply") from e
    except ValueError as e:
        raise BadImage(f"the {what} is not valid JSON: {e}") from e
    if not isinstance(value, dict):
        raise BadImage(f"the {what} must be a JSON object, not {kind(value)}")
    return value


def kind(value: object) -> str:
    """Return what JSON calls the type of ``value``."""
    name = type(value).__name__
    return _KINDS.get(name, name)


class Fields(NamedTuple):
    """A JSON object and how to call it in errors (``manifest.layers[2]``).

    Every getter takes a missing field and null for its default: Go's encoder writes either for "none".
    """

    values: dict[str, Any]
    where: str

    def text(self, name: str, default: str = "") -> str:
        value = self._get(name, str, "a string")
        return default if value is None else fit(value, f"{self.where}.{name}")

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise BadImage(f"{self.where}.{name} is missing")
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """Return a whole number that is not negative and fits 63 bits."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if type(value) is not int or not 0 <= value <= _MAX_INT:
            raise BadImage(f"{self.where}.{name} must be a size, not {str(value)[:40]!r}")
        return value

    def flag(self, name: str) -> bool:
        return bool(self._get(name, bool, "a boolean"))

    def object(self, name: str) -> Fields:
        return Fields(self._get(name, dict, "an object") or {}, f"{self.where}.{name}")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of strings."""
        items = self._get(name, list, "an array") or ()
        return tuple(fit(item, f"{self.where}.{name}[{i}]") for i, item in enumerate(items))

    def words(self, name: str) -> tuple[str, ...] | None:
        """Return a command: an array of strings, or one string as old Docker images have it; None if not given."""
        value = self.values.get(name)
        if value is None:
            return None
        return (fit(value, f"{self.where}.{name}"),) if isinstance(value, str) else self.texts(name)

    def objects(self, name: str, make: Callable[[Fields], _T]) -> tuple[_T, ...]:
        """Return an array of objects, each read by ``make``."""
        items = self._get(name, list, "an array") or ()
        return tuple(make(Fields(as_object(v, f"{self.where}.{name}[{i}]"), f"{self.where}.{name}[{i}]"))
                     for i, v in enumerate(items))  # fmt: skip

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object whose values are strings."""
        return {
            fit(key, f"{self.where}.{name}"): fit(value, f"{self.where}.{name}[{key[:80]!r}]")
            for key, value in (self._get(name, dict, "an object") or {}).items()
        }

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the keys of an object used as a set (``Volumes``, ``ExposedPorts``)."""
        value = self._get(name, dict, "an object") or {}
        return tuple(fit(key, f"{self.where}.{name}") for key in value)

    def _get(self, name: str, type_: type, expected: str) -> Any:
        value = self.values.get(name)
        if value is not None and type(value) is not type_:
            raise BadImage(f"{self.where}.{name} must be {expected}, not {kind(value)}")
        return value


def as_object(value: object, where: str) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object."""
    if not isinstance(value, dict):
        raise BadImage(f"{where} must be an object, not {kind(value)}")
    return value


def fit(value: object, where: str) -> str:
    """Return ``value`` if it is a string that can be handed to the kernel."""
    if not isinstance(value, str):
        raise BadImage(f"{where} must be a string, not {kind(value)}")
    if "\0" in value or not _has_utf8(value):
        raise BadImage(f"{where} holds a character that no C string can: {value[:80]!r}")
    return value


def _has_utf8(value: str) -> bool:
    """Tell whether there are no lone surrogates, which Python would turn into other bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
