"""Challenges are read as RFC 9110 writes them."""

from __future__ import annotations

import pytest

from rootless.image import auth
from rootless.image.auth import Challenge

TABLE = {
    'Basic realm="x"': [Challenge("basic", {"realm": "x"})],
    "Basic": [Challenge("basic", {})],
    'Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"': [
        Challenge("bearer", {"realm": "https://a/token", "service": "s", "scope": "repository:a/b:pull,push"})
    ],
    'bearer Realm=https://a/t , service="a \\"b\\" c"': [
        Challenge("bearer", {"realm": "https://a/t", "service": 'a "b" c'})
    ],
    'Negotiate, Basic realm="x", charset="UTF-8", Bearer realm="y"': [
        Challenge("negotiate", {}),
        Challenge("basic", {"realm": "x", "charset": "UTF-8"}),
        Challenge("bearer", {"realm": "y"}),
    ],
    "": [],
}


@pytest.mark.parametrize("header", TABLE)
def test_a_header_holds_these_challenges(header: str) -> None:
    assert list(auth.parse_challenges([header])) == TABLE[header]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
         "denied: requested access to the resource is denied"),
        (b'{"details":"incorrect username or password"}', "unauthorized: incorrect username or password"),
        (b'{"errors":[{"code":"X","message":"\\u001b[31mred"}]}', "x:  [31mred"),
        (b'{"errors":[{"code":"NAME_UNKNOWN"}]}', "name unknown"),
        (b"<html>", ""),
        (b'{"errors":[]}', ""),
        (b'{"errors":["x"]}', ""),
        (b"[]", ""),
    ],
)  # fmt: skip
def test_an_error_document_is_told_without_what_a_terminal_would_obey(body: bytes, detail: str) -> None:
    assert auth.error_detail(body) == detail
