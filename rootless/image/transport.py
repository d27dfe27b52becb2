"""HTTP to registries: which certificates to trust, what may follow a redirect, and failures in plain words."""

from __future__ import annotations

import errno
import glob
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters

from rootless.config import Settings
from rootless.errors import RegistryError, UsageError

_CONNECT_TIMEOUT: Final = 15  # seconds
_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_AGENT: Final = "rl"


class Unreachable(RegistryError):
    """No answer came; ``passing`` if the same request may well succeed a moment later."""

    def __init__(self, message: str, *, hint: str | None = None, passing: bool, no_tls: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.passing = passing
        self.no_tls = no_tls


class _PinnedContext(requests.adapters.HTTPAdapter):
    """Connections that use one ready TLS context, so that no certificate file is read after a fork."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave everything to the context."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, True, None)
        return host, {}


class Transport:
    """Requests to any host, with the trust that the settings and Docker's certs.d directories give each."""

    def __init__(self, settings: Settings, cert_dirs: tuple[str, ...] | None = None) -> None:
        self._settings = settings
        self._cert_dirs = certificate_directories() if cert_dirs is None else cert_dirs
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._common: ssl.SSLContext | None = None
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        # Read now: a forked worker, which meets the hosts of redirects, may not reach our files.
        self._authorities = [_read_authority(p) for p in (*settings.registry_ca, *((bundle,) if bundle else ()))]
        self._session = self._new_session()

    def is_insecure(self, netloc: str) -> bool:
        """Tell whether the user allowed plain HTTP and unknown certificates for this host."""
        return netloc in self._settings.insecure_registries or hostname(netloc) in self._settings.insecure_registries

    def after_fork(self) -> None:
        """Forget all connections: they belong to the parent."""
        self._session = self._new_session()

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def request(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send a request and follow its redirects; the body of the answer is yet to be read.

        Credentials go to the first host only, and never from TLS to plain HTTP.

        Raises:
            Unreachable: there was no answer.
            RegistryError: a redirect that cannot be followed.
        """
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._send(method, url, sent, form)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location or form is not None:
                return response
            response.close()
            target = urljoin(url, location)
            old, new = urlsplit(url), urlsplit(target)
            if new.scheme not in ("http", "https") or not new.hostname:
                raise RegistryError(f"{old.netloc} redirects to {target[:200]!r}, which is no HTTP address")
            if (old.scheme, new.scheme) == ("https", "http") and not self.is_insecure(new.netloc):
                raise RegistryError(
                    f"{old.netloc} redirects to {new.netloc} without TLS",
                    hint=f"if that is right, add {new.netloc} to insecure_registries in config.toml",
                )
            if (old.scheme, old.netloc) != (new.scheme, new.netloc):
                sent.pop("Authorization", None)
            url = target
        raise RegistryError(f"{urlsplit(url).netloc} redirects more than {_MAX_REDIRECTS} times")

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> requests.Response:
        parts = urlsplit(url)
        if parts.scheme == "https":
            self._trust(parts.netloc)
        try:
            return self._session.request(
                method,
                url,
                headers=dict(headers),
                data=form,
                stream=True,
                allow_redirects=False,
                timeout=(_CONNECT_TIMEOUT, self._settings.registry_timeout),
                # A proxy cannot reach our own loopback.
                proxies={"no_proxy": hostname(parts.netloc)} if is_loopback(parts.netloc) else None,
            )
        except requests.exceptions.RequestException as e:
            raise explain(e, parts.netloc) from e

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        # Anything here keeps requests from sending what ~/.netrc has for the host.
        session.auth = _leave_alone
        for prefix, context in self._contexts.items():
            session.mount(prefix, _PinnedContext(context))
        return session

    def _trust(self, netloc: str) -> None:
        prefix = f"https://{netloc}/"
        if prefix not in self._contexts:
            self._contexts[prefix] = self._context(netloc)
            self._session.mount(prefix, _PinnedContext(self._contexts[prefix]))

    def _context(self, netloc: str) -> ssl.SSLContext:
        if self.is_insecure(netloc):
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            _silence_warnings()
            return context
        # Docker's rule: *.crt are authorities, *.cert with *.key are the client's own.
        own = [f"{glob.escape(directory)}/{glob.escape(netloc)}" for directory in self._cert_dirs]
        authorities = [path for directory in own for path in sorted(glob.glob(f"{directory}/*.crt"))]
        clients = [path for directory in own for path in sorted(glob.glob(f"{directory}/*.cert"))]
        if not authorities and not clients:
            self._common = self._common or self._new_context()
            return self._common
        context = self._new_context()
        for path in authorities:
            _add_authority(context, *_read_authority(path))
        for path in clients:
            _load_client(context, path)
        return context

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not context.cert_store_stats()["x509_ca"]:  # a system without certificates of its own
            context.load_verify_locations(requests.adapters.DEFAULT_CA_BUNDLE_PATH)
        for path, pem in self._authorities:
            _add_authority(context, path, pem)
        return context


def certificate_directories(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return where Docker and Podman look for HOST:PORT/*.crt."""
    home = environ.get("HOME") or os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return (
        "/etc/docker/certs.d",
        "/etc/containers/certs.d",
        f"{config}/docker/certs.d",
        f"{config}/containers/certs.d",
    )


def hostname(netloc: str) -> str:
    """Return ``netloc`` without its port and without the brackets of an IPv6 address."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0]
    return netloc.partition(":")[0]


def is_loopback(netloc: str) -> bool:
    """Tell whether ``netloc`` names this machine, so that Docker allows plain HTTP."""
    host = hostname(netloc)
    if host in ("localhost", "::1"):
        return True
    try:
        return socket.inet_aton(host)[0] == 127 and host.count(".") == 3
    except OSError:
        return False


def explain(error: Exception, netloc: str) -> Unreachable:
    """Say in plain words why no answer came from ``netloc``."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause, netloc)
        if isinstance(cause, socket.gaierror):
            passing = cause.errno == socket.EAI_AGAIN
            return Unreachable(
                f"cannot find the address of {hostname(netloc)!r}: {cause.strerror}",
                hint="check the spelling, and the network (DNS)",
                passing=passing,
            )
        if isinstance(cause, ConnectionRefusedError):
            return Unreachable(
                f"{netloc} refuses the connection", hint="is the registry up, and is the port right?", passing=False
            )
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return Unreachable(f"{netloc} cannot be reached: {cause.strerror}", hint="check the network", passing=True)
    if any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes):
        return Unreachable(
            f"cannot reach {netloc} through the proxy: {causes[-1]}",
            hint="check https_proxy and no_proxy in the environment",
            passing=False,
        )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Unreachable(
            f"{netloc} does not speak TLS as it should: {_short(causes)}",
            hint=f"if it speaks plain HTTP, add {netloc} to insecure_registries in config.toml",
            passing=False,
            no_tls=True,
        )
    if any(isinstance(cause, (requests.exceptions.Timeout, TimeoutError)) for cause in causes):
        return Unreachable(f"{netloc} does not answer", hint="check the network and the proxy", passing=True)
    return Unreachable(f"the connection to {netloc} broke: {_short(causes)}", passing=True)


def _untrusted(cause: ssl.SSLCertVerificationError, netloc: str) -> Unreachable:
    reason = cause.verify_message or "certificate verify failed"
    if "expired" in reason or "mismatch" in reason or "not valid" in reason:
        hint = f"the registry's certificate is wrong; to go on without checking, add {netloc} to insecure_registries"
    else:
        hint = (
            f"if a private authority signed it, put its certificate into ~/.config/docker/certs.d/{netloc}/ca.crt "
            f"or name it in registry_ca in config.toml; to go on without checking, add {netloc} to insecure_registries"
        )
    return Unreachable(f"cannot trust the certificate of {netloc}: {reason}", hint=hint, passing=False)


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what lies beneath it; requests and urllib3 hide causes in arguments too."""
    found: list[BaseException] = []
    queue: list[BaseException] = [error]
    while queue and len(found) < 32:
        current = queue.pop(0)
        if current in found:
            continue
        found.append(current)
        beneath = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        queue.extend(item for item in beneath if isinstance(item, BaseException))
    return found


def _short(causes: list[BaseException]) -> str:
    texts = [str(cause.args[-1] if cause.args else cause) for cause in causes if isinstance(cause, OSError)]
    return (texts[-1] if texts else str(causes[-1]))[:200]


def _read_authority(path: str) -> tuple[str, str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return path, file.read()
    except OSError as e:
        raise UsageError(f"cannot read the certificate {path!r}: {e.strerror}") from e


def _add_authority(context: ssl.SSLContext, path: str, pem: str) -> None:
    try:
        context.load_verify_locations(cadata=pem)
    except (ValueError, ssl.SSLError) as e:
        raise UsageError(f"{path!r} holds no PEM certificate: {e}") from e


def _load_client(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_cert_chain(path, path.removesuffix(".cert") + ".key")
    except (OSError, ssl.SSLError) as e:
        raise UsageError(f"cannot use the client certificate {path!r}: {e.strerror or e}") from e


def _leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _silence_warnings() -> None:
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
