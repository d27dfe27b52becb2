"""JSON as the ``json`` module reads and writes it, without loading it: ``re`` and ``enum`` come with that (4 ms).

CPython's own accelerator does the work. Where it is missing or takes other arguments (it is not a
documented interface), the ``json`` module stands in.
"""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BLANKS = " \t\n\r"


def _no_constant(name: str) -> Any:
    """Refuse NaN and the infinities, which are not JSON (RFC 8259, 6)."""
    raise ValueError(f"{name} is not JSON")


class _Rules:
    """What the scanner asks for: how to read numbers and constants, and no control characters in strings."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_no_constant)


def _accelerated() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    import _json

    scan = _json.make_scanner(_Rules())  # type: ignore[arg-type]  # it wants the attributes only
    encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False)

    def load(text: str) -> Any:
        try:
            value, end = scan(text, len(text) - len(text.lstrip(_BLANKS)))
        except (StopIteration, SystemError):
            # Before Python 3.12 the scanner finds its exception only where json is loaded.
            return _ordinary()[0](text)
        if text[end:].strip(_BLANKS):
            raise ValueError(f"extra data: char {end}")
        return value

    def dump(value: Any) -> str:
        return "".join(encode(value, 0))

    if load(dump({"a": [1, None, "é"]})) != {"a": [1, None, "é"]}:
        raise TypeError("the accelerator does not do what we think")
    return load, dump


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _ordinary() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    import json

    return lambda text: json.loads(text, parse_constant=_no_constant), json.dumps


try:
    _load, _dump = _accelerated()
except (ImportError, AttributeError, TypeError):
    _load, _dump = _ordinary()


def loads(data: str | bytes) -> Any:
    """Read one JSON value.

    Raises:
        ValueError: it is not JSON, not UTF-8, or has something behind it.
        RecursionError: it is nested too deeply.
    """
    return _load(data.decode() if isinstance(data, bytes) else data)


def dumps(value: Any) -> str:
    """Write a JSON value on one line, in ASCII.

    Raises:
        TypeError: a part of it has no JSON form.
        ValueError: a number is not finite.
    """
    return _dump(value)


def load(path: str) -> Any:
    """Read the JSON file ``path``.

    Raises:
        OSError: as open(2).
        ValueError: it is not JSON.
    """
    with open(path, "rb") as file:
        return loads(file.read())
