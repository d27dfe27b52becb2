"""Credentials are found where Docker and Podman put them, and put where both find them."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from rootless.errors import StoreError
from rootless.image import credentials
from rootless.image.credentials import CredentialFiles, Login

ME = Login("me", "pass:word")
AUTH = base64.b64encode(b"me:pass:word").decode()

#: A helper that keeps everything in a file beside itself, and counts its calls.
HELPER = """#!/bin/sh
dir=$(dirname "$0")
echo "$1" >> "$dir/calls"
case $1 in
get) read -r server
    if [ -f "$dir/kept" ]; then cat "$dir/kept"; else echo "credentials not found in native keychain"; exit 1; fi ;;
store) cat > "$dir/kept" ;;
erase) rm -f "$dir/kept" ;;
esac
"""


def write(path: Path, config: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    return path


def one(path: Path) -> CredentialFiles:
    return CredentialFiles((str(path),))


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put docker-credential-test on the PATH; return its directory."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


def test_files_are_looked_into_in_the_order_of_what_was_set() -> None:
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": "/r"}
    expected = ("/h/.docker/config.json", "/r/containers/auth.json", "/h/.config/containers/auth.json")
    assert CredentialFiles.of(environ).paths == expected
    assert CredentialFiles.of({**environ, "DOCKER_CONFIG": "/d"}).paths[0] == "/d/config.json"
    assert CredentialFiles.of({**environ, "REGISTRY_AUTH_FILE": "/a.json"}).paths == ("/a.json",)


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("quay.io", "quay.io"),
        ("https://quay.io", "quay.io"),
        ("https://quay.io/v2/", "quay.io"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_a_registry_has_many_spellings(tmp_path: Path, key: str, registry: str) -> None:
    path = write(tmp_path / "config.json", {"auths": {key: {"auth": AUTH}}})
    assert credentials.find(one(path), registry).login == ME
    assert credentials.find(one(path), "example.org").login is None


def test_podmans_most_special_entry_wins(tmp_path: Path) -> None:
    special = {"username": "team", "password": "x"}
    path = write(tmp_path / "auth.json", {"auths": {"quay.io": {"auth": AUTH}, "quay.io/team": special}})
    assert credentials.find(one(path), "quay.io", "team/app").login == Login("team", "x")
    assert credentials.find(one(path), "quay.io", "other/app").login == ME


def test_an_identity_token_stands_for_the_password(tmp_path: Path) -> None:
    path = write(tmp_path / "c", {"auths": {"a.io": {"auth": base64.b64encode(b"me:").decode(), "identitytoken": "t"}}})
    assert credentials.find(one(path), "a.io").login == Login("me", "", "t")


def test_the_next_file_is_looked_into_where_the_first_says_nothing(tmp_path: Path) -> None:
    first = write(tmp_path / "1", {"auths": {"b.io": {"auth": AUTH}}})
    second = write(tmp_path / "2", {"auths": {"a.io": {"auth": AUTH}}})
    files = CredentialFiles((str(tmp_path / "missing"), str(first), str(second)))
    found = credentials.find(files, "a.io")
    assert found.login == ME
    assert found.source == f"{second} (a.io)"


def test_a_login_is_kept_beside_what_else_is_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "docker/config.json", {"HttpHeaders": {"x": "y"}, "auths": {"b.io": {"auth": "bTpw"}}})
    stored = credentials.store(one(path), "docker.io", ME)
    assert stored == (str(path), True)
    config = json.loads(path.read_text())
    assert config["HttpHeaders"] == {"x": "y"}
    assert config["auths"] == {"b.io": {"auth": "bTpw"}, "https://index.docker.io/v1/": {"auth": AUTH}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["config.json"]


def test_a_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    real = write(tmp_path / "dotfiles/config.json", {})
    link = tmp_path / "config.json"
    link.symlink_to(real)
    credentials.store(one(link), "a.io", ME)
    assert link.is_symlink()
    assert credentials.find(one(real), "a.io").login == ME


def test_a_login_is_forgotten(tmp_path: Path) -> None:
    path = write(tmp_path / "c", {"auths": {"a.io": {"auth": AUTH}, "b.io": {"auth": AUTH}}})
    assert credentials.erase(one(path), "a.io")
    assert not credentials.erase(one(path), "a.io")
    assert json.loads(path.read_text()) == {"auths": {"b.io": {"auth": AUTH}}}


def test_a_helper_keeps_the_password_out_of_the_file(tmp_path: Path, helper: Path) -> None:
    path = write(tmp_path / "c", {"credsStore": "test"})
    assert credentials.find(one(path), "a.io").login is None
    assert credentials.store(one(path), "a.io", ME) == ("docker-credential-test", False)
    assert json.loads(path.read_text()) == {"credsStore": "test", "auths": {"a.io": {}}}
    assert json.loads((helper / "kept").read_text()) == {"ServerURL": "a.io", "Username": "me", "Secret": "pass:word"}
    found = credentials.find(one(path), "a.io")
    assert (found.login, found.source) == (ME, "docker-credential-test")
    assert credentials.erase(one(path), "a.io")
    assert not (helper / "kept").exists()
    assert credentials.find(one(path), "a.io").login is None


def test_a_helper_for_one_registry_is_asked_for_that_one_only(tmp_path: Path, helper: Path) -> None:
    path = write(tmp_path / "c", {"credHelpers": {"a.io": "test"}, "auths": {"b.io": {"auth": AUTH}}})
    assert credentials.find(one(path), "b.io").login == ME
    assert not (helper / "calls").exists()
    credentials.find(one(path), "a.io")
    assert (helper / "calls").read_text() == "get\n"


def test_a_helper_can_give_an_identity_token(tmp_path: Path, helper: Path) -> None:
    (helper / "kept").write_text('{"Username":"<token>","Secret":"t"}')
    path = write(tmp_path / "c", {"credsStore": "test"})
    assert credentials.find(one(path), "a.io").login == Login("", "", "t")


def test_a_helper_that_is_not_there_does_not_keep_from_public_images(tmp_path: Path) -> None:
    path = write(tmp_path / "c", {"credsStore": "surely-not-installed"})
    found = credentials.find(one(path), "a.io")
    assert found.login is None
    assert found.problem == "the credential helper docker-credential-surely-not-installed is not on the PATH"
    with pytest.raises(StoreError, match="is not on the PATH"):
        credentials.store(one(path), "a.io", ME)


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}'])
def test_a_damaged_file_is_told_and_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c"
    path.write_text(text)
    for act in (lambda: credentials.find(one(path), "a.io"), lambda: credentials.store(one(path), "a.io", ME)):
        with pytest.raises(StoreError):
            act()
    assert path.read_text() == text


def test_nonsense_in_an_entry_is_no_login(tmp_path: Path) -> None:
    path = write(tmp_path / "c", {"auths": {"a.io": {"auth": "%%%"}, "b.io": "x", "c.io": {}}})
    for registry in ("a.io", "b.io", "c.io"):
        assert credentials.find(one(path), registry).login is None
