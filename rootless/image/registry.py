"""A registry: manifests by tag or digest, and blobs that survive broken connections (distribution-spec)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import urllib3.exceptions

from fs import descriptor
from fs.descriptor import Descriptor
from fs.digest import Digest
from rootless.errors import BadImage, NotFound, RegistryError, RlError
from rootless.image import auth
from rootless.image.auth import Authorizer, TooManyRequests
from rootless.image.credentials import Found
from rootless.image.reference import ImageRef
from rootless.image.source import Served
from rootless.image.transport import Transport, Unreachable, is_loopback

if TYPE_CHECKING:
    from requests import Response

_ATTEMPTS: Final = 5
_LONGEST_WAIT: Final = 60.0  # seconds that a Retry-After may cost us
_PASSING: Final = frozenset((408, 500, 502, 503, 504))
_ERROR_LIMIT: Final = 1 << 20
_HOSTS: Final = {"docker.io": "registry-1.docker.io"}

Wait = Callable[[float], None]


class Registry:
    """One registry, or a mirror of it, as one user sees it."""

    def __init__(
        self, name: str, transport: Transport, found: Found, *, url: str = "", wait: Wait = time.sleep
    ) -> None:
        self.name = name
        self.netloc = url.rstrip("/").partition("://")[2] if url else _HOSTS.get(name, name)
        self._transport = transport
        self._auth = Authorizer(transport, name, found)
        self._wait = wait
        self._base = url.rstrip("/")

    def ping(self) -> None:
        """Ask whether the registry knows us (``/v2/``).

        Raises:
            RegistryError: it refuses the credentials.
        """
        response = self._send("GET", "/v2/", {}, "")
        with response:
            if response.status_code == 200:
                return
            detail = self._detail(response)
            if response.status_code in (401, 403):
                raise RegistryError(
                    f"login to {self.name} was refused: {detail or 'unauthorized: incorrect username or password'}"
                )
            raise self._failed(response.status_code, detail)

    def head(self, ref: ImageRef) -> Digest | None:
        """Return the digest that the reference points to now, where the registry tells it without a transfer."""
        response = self._send("HEAD", self._manifest_path(ref, ref.pointer()), _accept(), _scope(ref))
        with response:
            if response.status_code != 200:
                return None
            try:
                return Digest.parse(response.headers.get("Docker-Content-Digest"))
            except BadImage:
                return None

    def manifest(self, ref: ImageRef, digest: Digest | None = None) -> Served:
        """Fetch the manifest or index that ``ref``, or ``digest`` of its repository, names.

        Raises:
            NotFound: there is none.
            BadImage: it is not what its digest says.
            RegistryError: refused or failed.
        """
        wanted = digest or ref.digest
        pointer = str(digest) if digest else ref.pointer()
        response = self._send("GET", self._manifest_path(ref, pointer), _accept(), _scope(ref))
        with response:
            if response.status_code != 200:
                raise self._refused(response, ref)
            data = auth.read_limited(response, descriptor.MAX_MANIFEST, self.name)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            announced = response.headers.get("Docker-Content-Digest")
        expected = wanted or _announced(announced)
        if expected and not expected.matches(data):
            raise BadImage(
                f"{self.name} sent a manifest for {ref.familiar()} that does not match {expected}",
                hint="a proxy may have altered it; try again, or from another network",
            )
        return Served(data, media_type, expected or Digest.of(data))

    def small_blob(self, ref: ImageRef, blob: Descriptor, limit: int) -> bytes:
        """Fetch a blob of at most ``limit`` bytes, verified: an image's configuration.

        Raises:
            BadImage: it is larger, or not what its digest says.
        """
        if blob.size > limit:
            raise BadImage(f"{blob.digest} has {blob.size} bytes where at most {limit} make sense")
        with self.blob(ref, blob) as reader:
            data = bytearray()
            while chunk := reader.read(65536):
                data += chunk
        if not blob.digest.matches(bytes(data)):
            raise BadImage(f"{self.name} sent content that does not match {blob.digest}")
        return bytes(data)

    def blob(self, ref: ImageRef, blob: Descriptor) -> BlobReader:
        """Return a reader of a blob, which asks again from where a connection broke."""
        return BlobReader(self, ref, blob, self._wait)

    def open_blob(self, ref: ImageRef, blob: Descriptor, offset: int) -> tuple[Response, int]:
        """Start a transfer; the answer's body begins at the returned offset, 0 or the one asked for."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._send("GET", f"/v2/{ref.repository}/blobs/{blob.digest}", headers, _scope(ref))
        if response.status_code == 206 and offset:
            start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if start.strip() == str(offset):
                return response, offset
            response.close()
            raise RegistryError(f"{self.name} answered a request for the rest of {blob.digest} with another part")
        if response.status_code == 200:
            return response, 0
        if response.status_code == 416:
            # Some servers send the whole blob as the body of this answer: it must not be read.
            response.close()
            raise RegistryError(f"{self.name} has less of {blob.digest} than the {blob.size} bytes that it announced")
        with response:
            if response.status_code == 404:
                raise NotFound(f"{self.name} does not have {blob.digest} of {ref.familiar()}: {self._detail(response)}")
            raise self._refused(response, ref)

    def after_fork(self) -> None:
        """Use connections of our own, not the parent's."""
        self._transport.after_fork()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _manifest_path(self, ref: ImageRef, pointer: str) -> str:
        return f"/v2/{ref.repository}/manifests/{pointer}"

    def _send(self, method: str, path: str, headers: dict[str, str], scope: str) -> Response:
        """Ask until there is an answer that asking again would not change."""
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            try:
                response = self._authorized(method, path, headers, scope)
            except Unreachable as e:
                if last or not e.passing:
                    raise
                self._wait(delay(attempt))
                continue
            except TooManyRequests as e:
                if last or (e.wait or 0) > _LONGEST_WAIT:
                    raise
                self._wait(e.wait or delay(attempt))
                continue
            if response.status_code == 429:
                too_many = TooManyRequests(self.name, self._detail(response), response.headers.get("Retry-After", ""))
                response.close()
                if last or (too_many.wait or 0) > _LONGEST_WAIT:
                    raise too_many
                self._wait(too_many.wait or delay(attempt))
                continue
            if response.status_code in _PASSING and not last:
                after = response.headers.get("Retry-After", "")
                response.close()
                self._wait(min(float(after), _LONGEST_WAIT) if after.isdigit() else delay(attempt))
                continue
            return response
        raise AssertionError("the last attempt returns or raises")

    def _authorized(self, method: str, path: str, headers: dict[str, str], scope: str) -> Response:
        sent = self._auth.header(scope)
        for _ in range(2):
            response = self._reach(method, path, {**headers, **sent})
            if response.status_code != 401:
                return response
            challenges = auth.parse_challenges(_all(response, "WWW-Authenticate"))
            try:
                if not self._auth.answer(challenges, scope, sent):
                    return response
            except BaseException:
                response.close()
                raise
            response.close()
            sent = self._auth.header(scope)
        return self._reach(method, path, {**headers, **sent})

    def _reach(self, method: str, path: str, headers: dict[str, str]) -> Response:
        if self._base:
            return self._transport.request(method, self._base + path, headers)
        try:
            response = self._transport.request(method, f"https://{self.netloc}{path}", headers)
            self._base = f"https://{self.netloc}"
        except Unreachable as e:
            # TLS first even where plain HTTP is allowed: a registry that has it should use it.
            plain = is_loopback(self.netloc) or self._transport.is_insecure(self.netloc)
            if not plain or not (e.no_tls or e.passing):
                raise
            response = self._transport.request(method, f"http://{self.netloc}{path}", headers)
            self._base = f"http://{self.netloc}"
        return response

    def _refused(self, response: Response, ref: ImageRef) -> RlError:
        detail = self._detail(response)
        if response.status_code in (401, 403):
            login = "rl login" if ref.registry == "docker.io" else f"rl login {ref.registry}"
            reason = self._auth.problem()
            return RegistryError(
                f"pull access denied for {ref.familiar_name}, repository does not exist or may require 'rl login': "
                f"{detail or 'unauthorized: authentication required'}{f' ({reason})' if reason else ''}",
                hint=login,
            )
        if response.status_code == 404:
            if detail.startswith("name unknown"):
                return NotFound(f"repository {ref.familiar_name} not found: {detail}")
            return NotFound(f"manifest for {ref.familiar()} not found: {detail or 'manifest unknown'}")
        return self._failed(response.status_code, detail)

    def _failed(self, status: int, detail: str) -> RegistryError:
        return RegistryError(f"{self.name} answered with HTTP status {status}{f': {detail}' if detail else ''}")

    def _detail(self, response: Response) -> str:
        try:
            return auth.error_detail(auth.read_limited(response, _ERROR_LIMIT, self.name))
        except RegistryError:
            return ""


class BlobReader:
    """The bytes of one blob in order, however often the connection breaks; not verified here."""

    def __init__(self, registry: Registry, ref: ImageRef, blob: Descriptor, wait: Wait) -> None:
        self._registry, self._ref, self._blob, self._wait = registry, ref, blob, wait
        self._response: Response | None = None
        self._failures = 0
        self.position = 0
        self.resumed = 0

    def __enter__(self) -> BlobReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the transfer."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, none at the end.

        Raises:
            RegistryError: the transfer broke off too often.
        """
        while True:
            try:
                if self._response is None:
                    self._open()
                assert self._response is not None
                data: bytes = self._response.raw.read(size)
            except (urllib3.exceptions.HTTPError, OSError) as e:
                self._broke(_why(e), e)
                continue
            except Unreachable as e:
                self._broke(e.message, e)
                continue
            if data:
                self.position += len(data)
                self._failures = 0
                return data
            if self.position >= self._blob.size:
                return b""
            self._broke("the connection was closed", None)

    def _open(self) -> None:
        response, start = self._registry.open_blob(self._ref, self._blob, self.position)
        self._response = response
        if self.position:
            self.resumed += 1
        skip = self.position - start
        while skip > 0:  # a server that knows no ranges begins again
            part = response.raw.read(min(skip, 1 << 18))
            if not part:
                raise OSError("the connection was closed")
            skip -= len(part)

    def _broke(self, reason: str, cause: Exception | None) -> None:
        self.close()
        self._failures += 1
        if self._failures >= _ATTEMPTS:
            raise RegistryError(
                f"the download of {self._blob.digest} from {self._registry.name} broke off "
                f"at {self.position} of {self._blob.size} bytes: {reason}",
                hint="try again: what is complete is kept",
            ) from cause
        self._wait(delay(self._failures))


def _why(error: Exception) -> str:
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return "it sends nothing any more"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection was closed"


def delay(attempt: int) -> float:
    """Return how long to wait after the ``attempt``-th failure, in seconds: doubling, never in step with others."""
    return float(min(8.0, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))


def _accept() -> dict[str, str]:
    return {"Accept": ", ".join(descriptor.ACCEPT)}


def _scope(ref: ImageRef) -> str:
    return f"repository:{ref.repository}:pull"


def _announced(text: str | None) -> Digest | None:
    if text is None:
        return None
    try:
        return Digest.parse(text)
    except BadImage:  # an algorithm that we do not know
        return None


def _all(response: Response, name: str) -> list[str]:
    return list(response.raw.headers.getlist(name)) or [v for v in (response.headers.get(name),) if v]
