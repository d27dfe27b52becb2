"""A registry inside the test's process that misbehaves on request: it breaks off, redirects, limits, lies."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Seen(NamedTuple):
    """One request that came."""

    method: str
    path: str
    authorization: str
    range: str
    form: dict[str, list[str]]


class Refusal(NamedTuple):
    """An answer to give instead of the right one."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


class FakeRegistry:
    """What it has and how it behaves; change the attributes at any time.

    ``cut``: by digest, after how many bytes each of the next transfers breaks off. ``refusals``: what the
    next requests under a path's beginning get. ``auth``: "", "basic" or "bearer" (``user``/``password``, or
    the identity token ``identity``). ``tokens`` are those that are accepted now.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.seen: list[Seen] = []
        self.cut: dict[str, list[int]] = {}
        self.refusals: list[tuple[str, Refusal]] = []
        self.knows_ranges = True
        self.redirect_blobs_to = ""
        self.auth = ""
        self.user, self.password, self.identity = "user", "secret", ""
        self.is_public = True
        self.tokens: set[str] = set()
        self.token_life: int | None = None
        self.realm = ""
        self.announce_digest = ""
        self.host = ""
        self._count = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def load(self, layout: str, repository: str) -> None:
        """Take every image of an OCI layout under its tags and digests."""
        for name in os.listdir(f"{layout}/blobs/sha256"):
            with open(f"{layout}/blobs/sha256/{name}", "rb") as f:
                self.blobs[f"sha256:{name}"] = f.read()
        with open(f"{layout}/index.json") as f:
            index = json.load(f)
        for entry in index["manifests"]:
            self.tag(repository, entry["annotations"]["org.opencontainers.image.ref.name"], entry)

    def tag(self, repository: str, name: str, descriptor: dict[str, Any]) -> None:
        """Let ``name`` mean the manifest or index of ``descriptor``, whose blob is there."""
        data = self.blobs[descriptor["digest"]]
        for key in (name, descriptor["digest"]):
            self.manifests[repository, key] = (descriptor["mediaType"], data)
        for child in json.loads(data).get("manifests", ()):
            self.tag(repository, child["digest"], child)

    def gets(self, part: str = "/blobs/") -> list[str]:
        """Return the paths of the GET requests that have ``part`` in them."""
        return [seen.path for seen in self.seen if seen.method == "GET" and part in seen.path]

    def is_allowed(self, authorization: str) -> bool:
        if not self.auth:
            return True
        if self.auth == "basic":
            return authorization == f"Basic {_base64(f'{self.user}:{self.password}')}"
        return authorization.removeprefix("Bearer ") in self.tokens

    def new_token(self, authorization: str, form: dict[str, list[str]]) -> str | None:
        """Return a token, or None where the proof is wrong."""
        if form:
            right = form.get("grant_type") == ["refresh_token"] and form.get("refresh_token") == [self.identity]
        elif authorization:
            right = authorization == f"Basic {_base64(f'{self.user}:{self.password}')}"
        else:
            right = self.is_public
        if not right:
            return None
        self._count += 1
        token = f"token-{self._count}"
        self.tokens.add(token)
        return token

    def take_refusal(self, path: str) -> Refusal | None:
        for number, (beginning, refusal) in enumerate(self.refusals):
            if path.startswith(beginning):
                del self.refusals[number]
                return refusal
        return None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeRegistry

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        fake, path = self.fake, urlsplit(self.path).path
        length = int(self.headers.get("Content-Length") or 0)
        form = parse_qs(self.rfile.read(length).decode()) if length else {}
        authorization = self.headers.get("Authorization", "")
        fake.seen.append(Seen(self.command, self.path, authorization, self.headers.get("Range", ""), form))
        refusal = fake.take_refusal(path)
        if refusal is not None:
            self._answer(refusal.status, refusal.body, refusal.headers)
        elif path == "/token":
            self._token(authorization, form)
        elif not fake.is_allowed(authorization):
            self._challenge()
        elif path in ("/v2/", "/v2"):
            self._answer(200, b"{}", {})
        elif "/manifests/" in path:
            self._manifest(path)
        elif "/blobs/" in path:
            self._blob(path)
        else:
            self._answer(404, b"", {})

    def _token(self, authorization: str, form: dict[str, list[str]]) -> None:
        token = self.fake.new_token(authorization, form)
        if token is None:
            self._answer(401, b'{"details":"incorrect username or password"}', {})
            return
        answer: dict[str, Any] = {"token": token}
        if self.fake.token_life is not None:
            answer["expires_in"] = self.fake.token_life
        self._answer(200, json.dumps(answer).encode(), {})

    def _challenge(self) -> None:
        realm = self.fake.realm or f"{self.fake.url}/token"
        value = f'Bearer realm="{realm}",service="fake, inc"' if self.fake.auth == "bearer" else 'Basic realm="fake"'
        body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        self._answer(401, body, {"WWW-Authenticate": value})

    def _manifest(self, path: str) -> None:
        repository, _, key = path.removeprefix("/v2/").partition("/manifests/")
        found = self.fake.manifests.get((repository, key))
        if found is None:
            body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            self._answer(404, body, {})
            return
        media_type, data = found
        digest = self.fake.announce_digest or f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _blob(self, path: str) -> None:
        fake, digest = self.fake, path.rpartition("/")[2]
        if fake.redirect_blobs_to:
            self._answer(307, b"", {"Location": f"{fake.redirect_blobs_to}{path}"})
            return
        data = fake.blobs.get(digest)
        if data is None:
            self._answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}', {})
            return
        start, status = 0, 200
        headers: Mapping[str, str] = {}
        wanted = self.headers.get("Range", "")
        if wanted and fake.knows_ranges:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            status, headers = 206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        cuts = fake.cut.get(digest)
        cut = cuts.pop(0) if cuts else None
        self._answer(status, data[start:], headers, cut)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the tests."""


@contextmanager
def serve(address: str = "127.0.0.1") -> Iterator[FakeRegistry]:
    """Run one on a free port until the block ends."""
    fake = FakeRegistry()
    handler = type("Handler", (_Handler,), {"fake": fake})
    with _Server((address, 0), handler) as server:
        fake.host = f"{address}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
