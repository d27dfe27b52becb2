"""A small part of Go's templates, enough for scripts: ``{{.A.B}}``, ``{{json .A}}``, ``{{index .A "key"}}``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from rootless.cli import render
from rootless.cli.usage import ClientError

_ACTION: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_TERM: Final = re.compile(
    r"""(?:(?P<function>json|index|len|lower|upper|println|print)\s+)?(?P<path>\.[\w.]*)(?P<keys>(?:\s+(?:"[^"]*"|\d+))*)"""
)
_KEY: Final = re.compile(r'"([^"]*)"|(\d+)')
_SUPPORTED: Final = 'write {{.A.B}}, {{json .A}} or {{index .A "key"}}; the rest of Go\'s templates is not offered yet'


def compile_(text: str) -> Callable[[object], str]:
    """Return a function that fills the template from a thing; ``\\t`` and ``\\n`` may be spelt out.

    Raises:
        ClientError: it uses what is not supported, or (on filling) names a field that is not there.
    """
    if text == "json":
        return render.json_text
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    pieces: list[Callable[[object], str]] = []
    position = 0
    for match in _ACTION.finditer(text):
        pieces.append(_literal(text[position : match.start()]))
        pieces.append(_action(match[1]))
        position = match.end()
    rest = text[position:]
    if "{{" in rest or "}}" in rest:
        raise ClientError(f"template parsing error: {text!r}: unclosed action", hint=_SUPPORTED)
    pieces.append(_literal(rest))
    return lambda thing: "".join(piece(thing) for piece in pieces)


def _literal(text: str) -> Callable[[object], str]:
    return lambda thing: text


def _action(action: str) -> Callable[[object], str]:
    match = _TERM.fullmatch(action)
    if match is None or (match["keys"] and match["function"] != "index"):
        raise ClientError(f"template parsing error: {{{{{action}}}}} is not supported", hint=_SUPPORTED)
    steps = [step for step in match["path"].split(".") if step]
    keys: list[str | int] = [int(number) if number else key for key, number in _KEY.findall(match["keys"])]
    function = match["function"]

    def fill(thing: object) -> str:
        for step in steps:
            thing = _field(thing, step, action)
        for key in keys:
            thing = _field(thing, key, action)
        if function == "json":
            return render.json_text(thing)
        if function == "len":
            return str(len(thing)) if isinstance(thing, (str, list, tuple, dict)) else "0"
        text = render.printable(_show(thing), keep_newlines=True)
        return text.lower() if function == "lower" else text.upper() if function == "upper" else text

    return fill


def _field(thing: object, key: str | int, action: str) -> object:
    if isinstance(thing, dict) and key in thing:
        return thing[key]
    if isinstance(thing, (list, tuple)) and isinstance(key, int) and key < len(thing):
        return thing[key]
    raise ClientError(
        f'template parsing error: template: :1:2: executing "" at <{action}>: map has no entry for key "{key}"'
    )


def _show(thing: object) -> str:
    if thing is None:
        return "<nil>"
    if isinstance(thing, bool):
        return str(thing).lower()
    if isinstance(thing, dict):
        return f"map[{' '.join(f'{key}:{_show(value)}' for key, value in sorted(thing.items()))}]"
    if isinstance(thing, (list, tuple)):
        return f"[{' '.join(map(_show, thing))}]"
    return str(thing)
