"""``rl pull`` and its kin against a real registry with TLS, a private authority and a password."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
from pathlib import Path

import pytest

from tests.support.home import Home, Rl
from tests.support.registry import Registry

pytestmark = pytest.mark.usefixtures("namespaces")


def blobs_are_whole(home: Home) -> bool:
    """Tell whether every blob in the store is what its name says."""
    blobs = Path(home.data) / "blobs/sha256"
    return all(hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name for blob in blobs.iterdir())


def new_gets(registry: Registry, before: dict[str, int]) -> dict[str, int]:
    now = registry.blob_gets()
    return {digest: count - before.get(digest, 0) for digest, count in now.items() if count != before.get(digest, 0)}


def test_pull_prints_dockers_lines_and_the_canonical_name(rl: Rl, logged_in: Registry) -> None:
    name = logged_in.reference("busybox")
    lines = rl.ok("pull", name).splitlines()
    assert lines[:2] == ["Using default tag: latest", "latest: Pulling from busybox"]
    assert lines[-3:] == [
        f"Digest: {logged_in.digest('busybox')}",
        f"Status: Downloaded newer image for {name}:latest",
        f"{name}:latest",
    ]
    again = rl.ok("pull", name).splitlines()
    assert again[2].endswith(": Already exists")
    assert again[-2] == f"Status: Image is up to date for {name}:latest"
    assert rl.ok("pull", "-q", name) == f"{name}:latest"


@pytest.mark.parametrize("tag", ["latest", "zstd", "tar", "docker", "multi"])
def test_every_form_of_an_image_is_pulled(rl: Rl, home: Home, logged_in: Registry, tag: str) -> None:
    name = logged_in.reference(f"busybox:{tag}")
    rl.ok("pull", name)
    assert blobs_are_whole(home)
    (image,) = json.loads(rl.ok("inspect", name))
    assert image["RepoTags"] == [name]
    assert image["RepoDigests"] == [f"{logged_in.reference('busybox')}@{logged_in.digest(f'busybox:{tag}')}"]
    assert image["Config"]["Cmd"] == ["sh"]


def test_an_image_of_another_platform_is_pulled_on_request(rl: Rl, logged_in: Registry) -> None:
    name = logged_in.reference("busybox:multi")
    for architecture in ("arm64", "amd64"):
        rl.ok("pull", "-q", "--platform", f"linux/{architecture}", name)
        (image,) = json.loads(rl.ok("inspect", name))
        assert image["Architecture"] == architecture
    failed = rl("pull", "--platform", "linux/s390x", name)
    assert failed.code == 1
    assert "no matching manifest for linux/s390x in the manifest list entries" in failed.stderr


def test_a_pull_by_digest_brings_that_image(rl: Rl, logged_in: Registry) -> None:
    name = f"{logged_in.reference('busybox')}@{logged_in.digest('busybox')}"
    assert rl.ok("pull", name).splitlines()[-1] == name
    (image,) = json.loads(rl.ok("inspect", name))
    assert image["RepoTags"] == []
    assert image["RepoDigests"] == [name]


def test_two_processes_that_pull_one_image_make_one_get_for_each_blob(rl: Rl, logged_in: Registry) -> None:
    before = logged_in.blob_gets()
    name = logged_in.reference("busybox")
    pulls = [rl.start("pull", name) for _ in range(4)]
    for pull in pulls:
        _, err = pull.communicate(timeout=120)
        assert pull.returncode == 0, err
    gets = new_gets(logged_in, before)
    layers = json.loads(rl.ok("inspect", name))[0]["RootFS"]["Layers"]
    assert list(gets.values()) == [1] * (len(layers) + 1)  # and the configuration


def test_without_a_password_the_registry_says_what_to_do(rl: Rl, trusting: Registry) -> None:
    name = trusting.reference("busybox")
    failed = rl("pull", name)
    assert failed.code == 1
    assert (
        f"pull access denied for {name}, repository does not exist or may require 'rl login': "
        "unauthorized: authentication required"
    ) in failed.stderr
    assert f"rl login {trusting.host}" in failed.stderr


def test_login_checks_the_password_and_keeps_it(rl: Rl, home: Home, trusting: Registry) -> None:
    wrong = rl("login", "-u", trusting.user, "--password-stdin", trusting.host, stdin="wrong")
    assert wrong.code == 1
    assert "was refused" in wrong.stderr
    path = Path(home.path) / ".docker/config.json"
    assert not path.exists()
    right = rl("login", "-u", trusting.user, "--password-stdin", trusting.host, stdin=f"{trusting.password}\n")
    assert (right.code, right.stdout) == (0, "Login Succeeded\n")
    assert str(path) in right.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rl.ok("pull", "-q", trusting.reference("busybox"))
    assert rl.ok("logout", trusting.host) == f"Removing login credentials for {trusting.host}"
    assert rl.ok("logout", trusting.host) == f"Not logged in to {trusting.host}"
    assert rl("pull", trusting.reference("busybox:zstd")).code == 1


def test_a_wrong_password_in_the_file_is_told_with_the_file(rl: Rl, home: Home, logged_in: Registry) -> None:
    path = Path(home.path) / ".docker/config.json"
    path.write_text(json.dumps({"auths": {logged_in.host: {"username": "tester", "password": "wrong"}}}))
    failed = rl("pull", logged_in.reference("busybox"))
    assert failed.code == 1
    assert f"the credentials for {logged_in.host} from {path}" in failed.stderr


def test_an_unknown_authority_is_explained(rl: Rl, home: Home, registry: Registry) -> None:
    failed = rl("pull", registry.reference("busybox"))
    assert failed.code == 1
    assert f"cannot trust the certificate of {registry.host}" in failed.stderr
    assert f".config/docker/certs.d/{registry.host}/ca.crt" in failed.stderr


def test_an_authority_is_found_where_docker_has_it(rl: Rl, home: Home, logged_in: Registry) -> None:
    os.unlink(f"{home.config}/config.toml")
    directory = Path(home.path) / ".config/docker/certs.d" / logged_in.host
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_bytes(Path(logged_in.ca).read_bytes())
    rl.ok("pull", "-q", logged_in.reference("busybox"))


def test_an_insecure_registry_needs_no_authority(rl: Rl, home: Home, logged_in: Registry) -> None:
    home.configure(insecure_registries=[logged_in.host])
    result = rl("pull", "-q", logged_in.reference("busybox"))
    assert result.code == 0
    assert "InsecureRequestWarning" not in result.stderr


def test_what_does_not_exist_is_told_in_dockers_words(rl: Rl, logged_in: Registry) -> None:
    name = logged_in.reference("busybox:nope")
    failed = rl("pull", name)
    assert failed.code == 1
    assert f"manifest for {name} not found: manifest unknown" in failed.stderr


def test_a_tag_keeps_the_image_until_the_last_is_removed(rl: Rl, home: Home, logged_in: Registry) -> None:
    name = f"{logged_in.reference('busybox')}:latest"
    rl.ok("pull", "-q", name)
    rl.ok("tag", name, "mine:1")
    assert rl.ok("rmi", name) == f"Untagged: {name}"
    id_ = rl.ok("images", "-q", "--no-trunc")
    lines = rl.ok("rmi", "mine:1").splitlines()
    assert lines[0] == "Untagged: mine:1"
    assert lines[1].startswith("Untagged: mine@sha256:")
    assert lines[2] == f"Deleted: {id_}"
    assert rl.ok("images", "-q") == ""
    assert os.listdir(f"{home.data}/layers") == []
    assert os.listdir(f"{home.data}/blobs/sha256") == []
    assert os.listdir(f"{home.data}/tmp") == []


def test_layers_that_another_image_needs_stay(rl: Rl, logged_in: Registry) -> None:
    rl.ok("pull", "-q", logged_in.reference("busybox"))
    rl.ok("pull", "-q", logged_in.reference("busybox:zstd"))
    rl.ok("pull", "-q", logged_in.reference("busybox:docker"))
    rl.ok("rmi", logged_in.reference("busybox"))
    assert rl.ok("run", "--rm", logged_in.reference("busybox:docker"), "echo", "still here") == "still here"


@pytest.mark.parametrize("seed", range(6))
def test_a_pull_that_is_killed_leaves_nothing_half(rl: Rl, home: Home, logged_in: Registry, seed: int) -> None:
    """It is killed once it has said ``seed`` lines, then pulled again to the end."""
    name = logged_in.reference("debian")
    pull = rl.start("pull", name)
    assert pull.stdout
    for _ in range(2 + 2 * seed):
        pull.stdout.readline()
    pull.send_signal(signal.SIGKILL)
    pull.communicate()
    assert rl.ok("images", "-q") == ""
    rl.ok("pull", "-q", name, timeout=180)
    assert blobs_are_whole(home)
    assert os.listdir(f"{home.data}/tmp") == []
    assert rl.ok("run", "--rm", name, "cat", "/srv/nobody") == "owned by nobody"
