"""What is printed: tables as Docker prints them, sizes, JSON, and text that is safe on a terminal."""

from __future__ import annotations

from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

_MINIMUM: Final = 10
_PADDING: Final = 3
_SHORT_ID: Final = 12
_COMMAND_WIDTH: Final = 20
_SIZE_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_ESCAPES: Final = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with its header: columns at least 10 wide, 3 blanks between, the last one as it is."""
    lines = [tuple(header), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(_MINIMUM, _PADDING + max(map(len, column))) for column in zip(*lines, strict=True)]
    widths[-1] = 0
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + "\n" for line in lines
    )


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """Return ``text`` with whatever could move a cursor, ring a bell or reverse a line shown as an escape.

    Names, commands and messages come from images, registries and other programs.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or (keep_newlines and character in "\n\t")
        else _ESCAPES.get(character) or _numeric(character)
        for character in text
    )


def _numeric(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str) -> str:
    """Return ``text`` in double quotes, escaped, as a COMMAND cell has it."""
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def command(words: Sequence[str], *, whole: bool = False) -> str:
    """Return a command as one quoted cell of at most 20 columns, or ``whole``; arguments with spaces have quotes."""
    first, *others = words or ("",)
    text = " ".join((first, *(f"'{word}'" if " " in word else word for word in others)))
    if not whole and len(text) > _COMMAND_WIDTH:
        text = text[: _COMMAND_WIDTH - 1] + "…"
    return quoted(text)


def short_id(identity: str) -> str:
    """Return the 12 digits by which people know an id or a digest."""
    return identity.rpartition(":")[2][:_SHORT_ID]


def size(count: int) -> str:
    """Return a size in decimal units with three digits: ``1.02kB``, ``188MB``."""
    value, unit = float(count), 0
    # 999.6 would be rounded to 1e+03.
    while value >= 999.5 and unit < len(_SIZE_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.3g}{_SIZE_UNITS[unit]}"


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return JSON as Docker prints it: ``<``, ``>``, ``&`` escaped, and nothing a terminal could obey."""
    import json

    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(value, indent=indent, ensure_ascii=False, separators=separators)
    if text.isascii() and not any(character in text for character in "<>&\x7f"):
        return text
    return "".join(_json_character(character) for character in text)


def _json_character(character: str) -> str:
    if character in "<>&\x7f" or (not character.isascii() and not character.isprintable()):
        code = ord(character)
        if code >= 0x10000:
            code -= 0x10000
            return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
        return f"\\u{code:04x}"
    return character


def outline(facts: dict[str, object], depth: int = 0) -> str:
    """Return nested facts as indented ``name: value`` lines; a list has one line for each item."""
    lines = []
    for name, value in facts.items():
        indent = " " * depth
        if isinstance(value, dict):
            lines += [f"{indent}{printable(name)}:", outline(value, depth + 1)] if value else []
        elif isinstance(value, (list, tuple)):
            lines += [f"{indent}{printable(name)}:"] if value else []
            lines += [f"{indent} {printable(str(item))}" for item in value]
        elif value is not None and value != "":
            text = str(value).lower() if isinstance(value, bool) else printable(str(value))
            lines.append(f"{indent}{printable(name)}: {text}")
    return "\n".join(lines)
