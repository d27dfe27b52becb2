"""A registry's challenges and their answers: Basic, and Bearer tokens (distribution, spec/auth/{token,oauth}.md)."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

from rootless.errors import RegistryError
from rootless.image.credentials import Found, Login

_PARAMETER: Final = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*,?')
_SCHEME: Final = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)(?:\s+|$|(?=,))(?!\s*=)")
_MAX_ANSWER: Final = 1 << 20
_SHORTEST_LIFE: Final = 60  # seconds; "a token without expires_in lives for 60 seconds"
_CLIENT_ID: Final = "rl"


class Challenge(NamedTuple):
    """One way to prove who asks, as WWW-Authenticate offers it; ``scheme`` in lower case."""

    scheme: str
    parameters: dict[str, str]


class Answer(Protocol):
    """What is used of an HTTP response."""

    status_code: int

    @property
    def headers(self) -> Any: ...
    def iter_content(self, chunk_size: int) -> Any: ...
    def close(self) -> None: ...


class Sender(Protocol):
    """What is used of ``Transport``."""

    def request(self, method: str, url: str, headers: Any, form: Any = None) -> Any: ...
    def is_insecure(self, netloc: str) -> bool: ...


class _Token(NamedTuple):
    value: str
    expires: float  # time.monotonic()


class Authorizer:
    """Proves to one registry who asks; keeps tokens until they end."""

    def __init__(self, sender: Sender, registry: str, found: Found) -> None:
        self._sender = sender
        self._registry = registry
        self._found = found
        self._challenge: Challenge | None = None
        self._tokens: dict[str, _Token] = {}

    def header(self, scope: str) -> dict[str, str]:
        """Return what to send with a request for ``scope``, as far as it is known."""
        if self._challenge is None:
            return {}
        if self._challenge.scheme == "basic":
            return _basic(self._found.login)
        token = self._tokens.get(scope)
        if token is None or token.expires < time.monotonic():
            token = self._tokens[scope] = self._fetch(self._challenge, scope)
        return {"Authorization": f"Bearer {token.value}"}

    def answer(self, challenges: tuple[Challenge, ...], scope: str, sent: dict[str, str]) -> bool:
        """Learn from a 401; tell whether asking again may help.

        Raises:
            RegistryError: the token server refuses, or is not to be trusted.
        """
        by_scheme = {challenge.scheme: challenge for challenge in challenges}
        chosen = by_scheme.get("bearer") or by_scheme.get("basic")
        if chosen is None:
            return False
        self._challenge = chosen
        self._tokens.pop(scope, None)  # it may have expired early, or been revoked
        if chosen.scheme == "basic" and self._found.login and self._found.login.identity_token:
            return False
        return self.header(scope) not in ({}, sent)

    def problem(self) -> str:
        """Say what is wrong with the credentials that were used, or why there were none."""
        if self._found.login:
            return f"the credentials for {self._registry} from {self._found.source} were refused"
        return self._found.problem

    def _fetch(self, challenge: Challenge, scope: str) -> _Token:
        realm = challenge.parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError(f"{self._registry} names no usable token server: {realm[:200]!r}")
        login = self._found.login
        if login and parts.scheme == "http" and not self._plain_allowed(parts.netloc):
            raise RegistryError(
                f"{self._registry} wants the password sent to {parts.netloc} without TLS",
                hint=f"if that is right, add {parts.netloc} to insecure_registries in config.toml",
            )
        fields = {"service": challenge.parameters.get("service", "")}
        if scope or challenge.parameters.get("scope"):
            fields["scope"] = scope or challenge.parameters["scope"]
        fields = {key: value for key, value in fields.items() if value}
        if login and login.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": _CLIENT_ID}
            response = self._sender.request("POST", realm, {}, {**form, **fields})
        else:
            if login:
                fields["account"] = login.username
            separator = "&" if parts.query else "?"
            response = self._sender.request("GET", f"{realm}{separator}{urlencode(fields)}", _basic(login))
        return self._read(response, parts.netloc)

    def _read(self, response: Answer, server: str) -> _Token:
        try:
            body = read_limited(response, _MAX_ANSWER, server)
            if response.status_code in (400, 401, 403):
                detail = error_detail(body) or "unauthorized"
                hint = f"rl login {self._registry}" if self._registry != "docker.io" else "rl login"
                reason = self.problem()
                raise RegistryError(f"{detail}{f' ({reason})' if reason else ''}", hint=hint)
            if response.status_code == 429:
                raise TooManyRequests(server, error_detail(body), response.headers.get("Retry-After", ""))
            if response.status_code != 200:
                raise RegistryError(f"the token server {server} answered with HTTP status {response.status_code}")
        finally:
            response.close()
        try:
            answer = json.loads(body)
            value = answer.get("token") or answer.get("access_token")
            life = answer.get("expires_in") or _SHORTEST_LIFE
            if not isinstance(value, str) or not isinstance(life, (int, float)):
                raise ValueError("no token in it")
        except (ValueError, AttributeError) as e:
            raise RegistryError(f"the token server {server} answered nonsense") from e
        # A tenth less, so that a token does not end between our clock and theirs.
        return _Token(value, time.monotonic() + max(life, _SHORTEST_LIFE) * 0.9)

    def _plain_allowed(self, netloc: str) -> bool:
        from rootless.image.transport import is_loopback

        return is_loopback(netloc) or self._sender.is_insecure(netloc)


class TooManyRequests(RegistryError):
    """HTTP status 429; ``wait`` is what the server asks for, in seconds, or None."""

    def __init__(self, registry: str, detail: str, retry_after: str) -> None:
        self.wait = int(retry_after) if retry_after.isdigit() else None
        when = f"wait {self.wait} seconds" if self.wait else "wait"
        login = "rl login" if registry.endswith("docker.io") else f"rl login {registry}"
        if not detail.startswith("toomanyrequests"):
            detail = f"toomanyrequests: {detail or f'{registry} limits how often one may ask'}"
        super().__init__(
            detail,
            hint=f"{when} and try again, or raise the limit with an account: {login}",
        )


def parse_challenges(headers: list[str]) -> tuple[Challenge, ...]:
    """Read WWW-Authenticate headers; one may hold several challenges (RFC 9110, section 11.6.1)."""
    challenges: list[Challenge] = []
    for header in headers:
        position = 0
        while scheme := _SCHEME.match(header, position):
            position = scheme.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(header, position):
                quoted, bare = parameter.group(2), parameter.group(3)
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
                parameters[parameter.group(1).lower()] = value
                position = parameter.end()
            challenges.append(Challenge(scheme.group(1).lower(), parameters))
    return tuple(challenges)


def read_limited(response: Answer, limit: int, server: str) -> bytes:
    """Read a whole answer of at most ``limit`` bytes.

    Raises:
        RegistryError: it is longer, or breaks off.
    """
    import requests

    body = bytearray()
    try:
        for chunk in response.iter_content(65536):
            body += chunk
            if len(body) > limit:
                raise RegistryError(f"{server} answers with more than {limit} bytes where a short document belongs")
    except requests.exceptions.RequestException as e:
        from rootless.image.transport import explain

        raise explain(e, server) from e
    return bytes(body)


def error_detail(body: bytes) -> str:
    """Return ``code: message`` of a registry's error document, as Docker prints it, or ""."""
    try:
        document = json.loads(body)
        if isinstance(document, dict) and isinstance(document.get("details"), str):  # Docker Hub's token server
            return f"unauthorized: {_clean(document['details'])}"
        first = document["errors"][0]
        code, message = str(first.get("code", "")).lower().replace("_", " "), _clean(str(first.get("message", "")))
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return f"{code}: {message}" if code and message else code or message


def _clean(text: str) -> str:
    # A registry is a stranger: no control characters on the terminal.
    return "".join(c if c.isprintable() else " " for c in text)[:500]


def _basic(login: Login | None) -> dict[str, str]:
    if login is None or login.identity_token:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()}
