"""The client against a registry that misbehaves."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator

import pytest

from fs import descriptor
from fs.descriptor import Descriptor
from fs.digest import Digest
from rootless.config import Settings
from rootless.errors import BadImage, NotFound, RegistryError
from rootless.image.credentials import Found, Login
from rootless.image.reference import ImageRef
from rootless.image.registry import Registry
from rootless.image.transport import Transport
from tests.support import fake_registry
from tests.support.fake_registry import FakeRegistry, Refusal

MANIFEST = json.dumps({"schemaVersion": 2, "layers": [], "config": {}}).encode()
BLOB = bytes(range(256)) * 4096


_open: list[Transport] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    """Close the connections of a test's clients."""
    yield
    while _open:
        _open.pop().close()


class Client:
    """A registry client with the waits it would have made."""

    def __init__(self, fake: FakeRegistry, login: Login | None = None, settings: Settings | None = None) -> None:
        self.waits: list[float] = []
        transport = Transport(settings or Settings(), ())
        _open.append(transport)
        self.registry = Registry(fake.host, transport, Found(login, "a file"), wait=self.waits.append)
        self.ref = ImageRef(fake.host, "some/app", "latest")

    def read(self, blob: Descriptor) -> bytes:
        with self.registry.blob(self.ref, blob) as reader:
            data = b""
            while chunk := reader.read(10_000):
                data += chunk
            return data


def add_blob(fake: FakeRegistry, data: bytes = BLOB) -> Descriptor:
    digest = Digest("sha256", hashlib.sha256(data).hexdigest())
    fake.blobs[str(digest)] = data
    return Descriptor(descriptor.OCI_LAYER, digest, len(data))


@pytest.fixture
def app(fake: FakeRegistry) -> FakeRegistry:
    fake.manifests["some/app", "latest"] = (descriptor.OCI_MANIFEST, MANIFEST)
    return fake


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    """A second host, where blobs are kept."""
    with fake_registry.serve("127.0.0.2") as running:
        yield running


def test_a_manifest_comes_with_type_and_digest(app: FakeRegistry) -> None:
    served = Client(app).registry.manifest(ImageRef(app.host, "some/app", "latest"))
    assert (served.data, served.media_type, served.digest) == (MANIFEST, descriptor.OCI_MANIFEST, Digest.of(MANIFEST))


def test_head_tells_the_digest_without_the_manifest(app: FakeRegistry) -> None:
    client = Client(app)
    assert client.registry.head(client.ref) == Digest.of(MANIFEST)
    assert not app.gets("/manifests/")


def test_a_manifest_that_is_not_its_digest_is_refused(app: FakeRegistry) -> None:
    digest = Digest("sha256", "0" * 64)
    app.manifests["some/app", str(digest)] = (descriptor.OCI_MANIFEST, MANIFEST)
    client = Client(app)
    with pytest.raises(BadImage, match="does not match"):
        client.registry.manifest(client.ref._replace(digest=digest))


def test_a_manifest_that_is_not_the_announced_one_is_refused(app: FakeRegistry) -> None:
    app.announce_digest = f"sha256:{'0' * 64}"
    client = Client(app)
    with pytest.raises(BadImage, match="does not match"):
        client.registry.manifest(client.ref)


def test_a_manifest_without_end_is_not_read(app: FakeRegistry) -> None:
    app.manifests["some/app", "latest"] = (descriptor.OCI_MANIFEST, b" " * (descriptor.MAX_MANIFEST + 1))
    client = Client(app)
    with pytest.raises(RegistryError, match="more than"):
        client.registry.manifest(client.ref)


def test_an_unknown_tag_is_not_found_in_dockers_words(app: FakeRegistry) -> None:
    client = Client(app)
    with pytest.raises(NotFound) as caught:
        client.registry.manifest(client.ref._replace(tag="nope"))
    assert (
        caught.value.message == f"manifest for {app.host}/some/app:nope not found: manifest unknown: manifest unknown"
    )


def test_a_transfer_that_breaks_off_goes_on_where_it_was(fake: FakeRegistry) -> None:
    blob = add_blob(fake)
    fake.cut[str(blob.digest)] = [300_000, 0, 200_000]
    client = Client(fake)
    assert client.read(blob) == BLOB
    assert [seen.range for seen in fake.seen] == ["", "bytes=300000-", "bytes=300000-", "bytes=500000-"]
    assert len(client.waits) == 3


def test_a_server_without_ranges_begins_again(fake: FakeRegistry) -> None:
    blob = add_blob(fake)
    fake.knows_ranges = False
    fake.cut[str(blob.digest)] = [700_000]
    assert Client(fake).read(blob) == BLOB


def test_a_registry_that_dies_half_way_is_named_with_how_far_it_came(fake: FakeRegistry) -> None:
    blob = add_blob(fake)
    fake.cut[str(blob.digest)] = [500_000, 0, 0, 0, 0, 0]
    with pytest.raises(RegistryError, match=f"broke off at 500000 of {len(BLOB)} bytes"):
        Client(fake).read(blob)


def test_waits_grow_and_progress_resets_them(fake: FakeRegistry) -> None:
    blob = add_blob(fake)
    fake.cut[str(blob.digest)] = [1000] * 20
    client = Client(fake)
    assert client.read(blob) == BLOB
    assert len(client.waits) == 20
    assert max(client.waits) <= 0.5


def test_a_server_error_that_passes_is_asked_again(app: FakeRegistry) -> None:
    app.refusals += [("/v2/some", Refusal(503)), ("/v2/some", Refusal(502)), ("/v2/some", Refusal(500))]
    client = Client(app)
    assert client.registry.manifest(client.ref).data == MANIFEST
    assert len(client.waits) == 3


def test_a_server_error_that_stays_is_told(app: FakeRegistry) -> None:
    app.refusals += [("/v2/some", Refusal(503))] * 9
    client = Client(app)
    with pytest.raises(RegistryError, match="HTTP status 503"):
        client.registry.manifest(client.ref)


def test_a_limit_is_waited_for_as_long_as_the_registry_says(app: FakeRegistry) -> None:
    app.refusals += [("/v2/some", Refusal(429, {"Retry-After": "7"}))]
    client = Client(app)
    assert client.registry.manifest(client.ref).data == MANIFEST
    assert client.waits == [7]


def test_a_limit_that_lasts_too_long_is_explained(app: FakeRegistry) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'
    app.refusals += [("/v2/some", Refusal(429, {"Retry-After": "3600"}, body))]
    client = Client(app)
    with pytest.raises(RegistryError) as caught:
        client.registry.manifest(client.ref)
    assert caught.value.message == "toomanyrequests: You have reached your pull rate limit."
    assert caught.value.hint is not None
    assert "3600 seconds" in caught.value.hint
    assert f"rl login {app.host}" in caught.value.hint
    assert client.waits == []


def test_basic_credentials_are_sent_when_asked_for(app: FakeRegistry) -> None:
    app.auth = "basic"
    client = Client(app, Login("user", "secret"))
    assert client.registry.manifest(client.ref).data == MANIFEST
    assert [bool(seen.authorization) for seen in app.seen] == [False, True]


def test_an_anonymous_token_is_fetched_once_and_kept(app: FakeRegistry) -> None:
    app.auth = "bearer"
    client = Client(app)
    for _ in range(3):
        client.registry.manifest(client.ref)
    (token,) = app.gets("/token")
    assert "service=fake%2C+inc" in token
    assert "scope=repository%3Asome%2Fapp%3Apull" in token


def test_a_token_is_fetched_with_the_password(app: FakeRegistry) -> None:
    app.auth, app.is_public = "bearer", False
    client = Client(app, Login("user", "secret"))
    assert client.registry.manifest(client.ref).data == MANIFEST
    assert "account=user" in app.gets("/token")[0]


def test_an_identity_token_is_posted(app: FakeRegistry) -> None:
    app.auth, app.is_public, app.identity = "bearer", False, "refresh me"
    client = Client(app, Login("", "", "refresh me"))
    assert client.registry.manifest(client.ref).data == MANIFEST
    (posted,) = [seen for seen in app.seen if seen.method == "POST"]
    assert posted.form["scope"] == ["repository:some/app:pull"]
    assert posted.authorization == ""


def test_a_token_that_ended_early_is_fetched_anew(app: FakeRegistry) -> None:
    app.auth = "bearer"
    client = Client(app)
    client.registry.manifest(client.ref)
    app.tokens.clear()
    assert client.registry.manifest(client.ref).data == MANIFEST
    assert len(app.gets("/token")) == 2


def test_a_wrong_password_is_told_with_where_it_came_from(app: FakeRegistry) -> None:
    app.auth = "basic"
    client = Client(app, Login("user", "wrong"))
    with pytest.raises(RegistryError) as caught:
        client.registry.manifest(client.ref)
    assert caught.value.message.startswith(
        f"pull access denied for {app.host}/some/app, repository does not exist or may require 'rl login': "
        "unauthorized: authentication required"
    )
    assert "from a file were refused" in caught.value.message
    assert caught.value.hint == f"rl login {app.host}"


def test_a_wrong_password_at_the_token_server_is_told(app: FakeRegistry) -> None:
    app.auth = "bearer"
    client = Client(app, Login("user", "wrong"))
    with pytest.raises(RegistryError, match="incorrect username or password"):
        client.registry.manifest(client.ref)


def test_ping_checks_a_password(app: FakeRegistry) -> None:
    app.auth = "basic"
    Client(app, Login("user", "secret")).registry.ping()
    with pytest.raises(RegistryError, match="was refused"):
        Client(app, Login("user", "wrong")).registry.ping()


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_credentials_do_not_follow_a_redirect_to_another_host(
    fake: FakeRegistry, elsewhere: FakeRegistry, auth: str
) -> None:
    fake.auth = auth
    fake.redirect_blobs_to = elsewhere.url
    blob = add_blob(elsewhere)
    client = Client(fake, Login("user", "secret"))
    assert client.read(blob) == BLOB
    assert [seen.authorization for seen in elsewhere.seen] == [""]
    assert fake.seen[-1].authorization


def test_a_file_called_netrc_is_not_asked(
    app: FakeRegistry, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    client = Client(app)
    client.registry.manifest(client.ref)
    assert all(not seen.authorization for seen in app.seen)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_something_else_is_not_followed(app: FakeRegistry, location: str) -> None:
    app.refusals.append(("/v2/some", Refusal(302, {"Location": location})))
    client = Client(app)
    with pytest.raises(RegistryError, match="no HTTP address"):
        client.registry.manifest(client.ref)


def test_a_circle_of_redirects_ends(app: FakeRegistry) -> None:
    app.refusals += [("/v2/some", Refusal(302, {"Location": "/v2/some/more"}))] * 20
    client = Client(app)
    with pytest.raises(RegistryError, match="redirects more than"):
        client.registry.manifest(client.ref)


def test_a_blob_that_is_shorter_than_announced_is_not_waited_for_without_end(fake: FakeRegistry) -> None:
    blob = add_blob(fake)._replace(size=len(BLOB) + 5)
    fake.refusals = []
    with pytest.raises(RegistryError):
        Client(fake).read(blob)


def test_a_small_blob_is_verified(fake: FakeRegistry) -> None:
    blob = add_blob(fake, b"{}")
    fake.blobs[str(blob.digest)] = b"[]"
    client = Client(fake)
    with pytest.raises(BadImage, match="does not match"):
        client.registry.small_blob(client.ref, blob, 100)


def test_a_port_where_nobody_listens_is_explained() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    registry = Registry(host, Transport(Settings(), ()), Found(None), wait=lambda _: None)
    with pytest.raises(RegistryError, match="refuses the connection"):
        registry.manifest(ImageRef(host, "a", "b"))


def test_a_name_that_does_not_exist_is_explained() -> None:
    registry = Registry("registry.invalid", Transport(Settings(), ()), Found(None), wait=lambda _: None)
    with pytest.raises(RegistryError, match=r"cannot find the address of 'registry.invalid'|cannot be reached"):
        registry.manifest(ImageRef("registry.invalid", "a", "b"))
