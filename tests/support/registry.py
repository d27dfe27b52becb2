"""A real registry for the tests: Debian's docker-registry with TLS, a password, and the images of `images`.

The store is filled once with skopeo and cached; each session serves it read-only on a free port of 127.0.0.1.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.support import cache, images, oci, tools
from tests.support.cache import Unavailable

USER: Final = "tester"
PASSWORD: Final = "correct horse"

_CONFIG: Final = """\
version: 0.1
log: {{accesslog: {{disabled: false}}, level: warn}}
storage:
  filesystem: {{rootdirectory: {store}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}, readonly: {{enabled: {readonly}}}}}
http:
  addr: 127.0.0.1:{port}
{tls}{auth}"""
_TLS: Final = "  tls: {{certificate: {directory}/server.crt, key: {directory}/server.key}}\n"
_AUTH: Final = "auth: {{htpasswd: {{realm: tests, path: {directory}/htpasswd}}}}\n"

_SCHEMA2: Final = "application/vnd.docker.distribution.manifest.v2+json"

#: docker-registry's access log is Apache's combined format, on its standard output.
_ACCESS: Final = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d+)')


class Request(NamedTuple):
    """One line of the access log."""

    method: str
    path: str
    status: int


class Registry(NamedTuple):
    """A running registry. ``ca`` and ``user`` are empty where it speaks plain HTTP to everybody."""

    host: str
    user: str
    password: str
    ca: str
    access_log: str
    pid: int

    def reference(self, image: str) -> str:
        """Return ``image`` (``busybox``, ``debian:zstd``) as a reference on this registry."""
        return f"{self.host}/{image}"

    def requests(self) -> tuple[Request, ...]:
        """Return what was asked so far, in order of completion."""
        with open(self.access_log, encoding="utf-8", errors="replace") as f:
            found = [_ACCESS.search(line) for line in f]
        return tuple(Request(m["method"], m["path"], int(m["status"])) for m in found if m)

    def blob_gets(self) -> dict[str, int]:
        """Return how often each blob was sent: digest → number of successful GETs (200, 206)."""
        counts: dict[str, int] = {}
        for request in self.requests():
            if request.method == "GET" and "/blobs/sha256:" in request.path and request.status in (200, 206):
                digest = request.path.rpartition("/")[2]
                counts[digest] = counts.get(digest, 0) + 1
        return counts

    def digest(self, image: str) -> str:
        """Return the digest of what a tag (``busybox:latest``) names, as the registry says."""
        name, _, tag = image.partition(":")
        accept = ", ".join((oci.OCI["manifest"], oci.OCI["index"], _SCHEMA2))
        connection = self._connect()
        headers = {"Accept": accept}
        if self.user:
            token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        connection.request("HEAD", f"/v2/{name}/manifests/{tag or 'latest'}", headers=headers)
        answer = connection.getresponse()
        connection.close()
        return answer.headers["Docker-Content-Digest"]

    def _connect(self) -> http.client.HTTPConnection:
        if not self.ca:
            return http.client.HTTPConnection(self.host, timeout=30)
        return http.client.HTTPSConnection(self.host, timeout=30, context=ssl.create_default_context(cafile=self.ca))


@contextmanager
def serve(
    directory: str, store: str, *, readonly: bool = False, tls: bool = True, auth: bool = True
) -> Iterator[Registry]:
    """Run a registry over ``store`` with its files in ``directory``; it is killed at the end.

    Raises:
        Unavailable: docker-registry, openssl or htpasswd is missing, or it does not start.
    """
    program = tools.find("docker-registry")
    os.makedirs(directory, exist_ok=True)
    if tls:
        certify(directory)
    if auth:
        line = tools.run(tools.find("htpasswd"), "-Bbn", USER, PASSWORD)
        with open(f"{directory}/htpasswd", "w") as f:
            f.write(line)
    port = _free_port()
    with open(f"{directory}/config.yml", "w") as f:
        f.write(
            _CONFIG.format(
                store=store,
                readonly=str(readonly).lower(),
                port=port,
                tls=_TLS.format(directory=directory) if tls else "",
                auth=_AUTH.format(directory=directory) if auth else "",
            )
        )
    log = f"{directory}/access.log"
    with open(log, "w") as out, open(f"{directory}/error.log", "w") as err:
        process = subprocess.Popen(
            (program, "serve", f"{directory}/config.yml"), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    try:
        _wait_until_it_listens(process, port, f"{directory}/error.log")
        user, password = (USER, PASSWORD) if auth else ("", "")
        yield Registry(f"127.0.0.1:{port}", user, password, f"{directory}/ca.crt" if tls else "", log, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def push(registry: Registry, layout: str, tag: str, name: str, *options: str) -> None:
    """Push ``tag`` of the OCI layout as ``name`` (``busybox:latest``) with skopeo.

    Raises:
        Unavailable: skopeo is missing or failed.
    """
    skopeo = tools.find("skopeo")
    command = [skopeo, "copy", "-q", "--insecure-policy", "--all", *options]
    if registry.user:
        command.append(f"--dest-creds={registry.user}:{registry.password}")
    if registry.ca:
        certificates = os.path.dirname(registry.ca) + "/certs.d"
        os.makedirs(certificates, exist_ok=True)
        shutil.copy(registry.ca, f"{certificates}/ca.crt")
        command.append(f"--dest-cert-dir={certificates}")
    else:
        command.append("--dest-tls-verify=false")
    tools.run(*command, f"oci:{layout}:{tag}", f"docker://{registry.reference(name)}")


def filled_store() -> str:
    """Return the store with every image that can be made here, filled once and cached.

    Raises:
        Unavailable: not even busybox can be made or pushed.
    """
    wanted: list[images.Image] = [images.get("busybox")]
    for name in images.TAGS:
        if name != "busybox":
            try:
                wanted.append(images.get(name))
            except Unavailable:
                continue

    def fill(target: str) -> None:
        with serve(f"{target}/work", f"{target}/store", tls=False, auth=False) as registry:
            for image in wanted:
                for tag in image.tags:
                    push(registry, image.path, tag, f"{image.name}:{tag}", "--preserve-digests")
            push(registry, wanted[0].path, "latest", "busybox:docker", "--format=v2s2")
        shutil.rmtree(f"{target}/work")

    key = "-".join(("registry", str(images.VERSION), *(image.name for image in wanted)))
    return f"{cache.get(key, fill)}/store"


def certify(directory: str) -> None:
    """Make ``ca.crt``, and ``server.crt`` with ``server.key`` for 127.0.0.1 and localhost, signed by it."""
    openssl = tools.find("openssl")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = (f"{directory}/ca.key", f"{directory}/ca.crt")
    tools.run(
        openssl, "req", "-x509", *key, "-keyout", ca[0], "-out", ca[1], "-days", "30", "-subj", "/CN=CA of the tests",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    tools.run(
        openssl, "req", *key, "-keyout", f"{directory}/server.key", "-out", f"{directory}/server.csr",
        "-subj", "/CN=localhost",
    )  # fmt: skip
    with open(f"{directory}/server.ext", "w") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n")
    tools.run(
        openssl, "x509", "-req", "-in", f"{directory}/server.csr", "-CA", ca[1], "-CAkey", ca[0], "-CAcreateserial",
        "-out", f"{directory}/server.crt", "-days", "30", "-extfile", f"{directory}/server.ext",
    )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, error_log: str) -> None:
    """Try to connect until it answers or ends; a pidfd wakes us early where it dies."""
    ended = os.pidfd_open(process.pid)
    try:
        for _ in range(300):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if select.select([ended], [], [], 0.1)[0]:
                break
    finally:
        os.close(ended)
    with open(error_log, encoding="utf-8", errors="replace") as f:
        raise Unavailable(f"docker-registry does not start: {f.read()[-1000:]}")


def main() -> int:
    """Make every image and fill the store; say what cannot be made and fail if there is any."""
    from tests.support import aftermath  # imports this module

    failed = images.main()
    try:
        print(filled_store(), flush=True)
        print(aftermath.images(), flush=True)
    except Unavailable as e:
        print(f"no registry: {e}", flush=True)
        failed = 1
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
