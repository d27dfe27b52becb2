"""Registry credentials where Docker and Podman keep them: their files, and their helper programs.

Sources: docker/cli's config file, containers-auth.json(5), the docker-credential-helpers protocol.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from rootless.errors import NotFound, RlError, StoreError

_DOCKER_HUB: Final = "https://index.docker.io/v1/"  # the key under which Docker keeps docker.io
_TOKEN_USER: Final = "<token>"  # a helper's way to say that the secret is an identity token


class Login(NamedTuple):
    """A user's proof for one registry: a password, or an identity token that stands for it."""

    username: str
    password: str
    identity_token: str = ""


class Found(NamedTuple):
    """What was found for a registry; ``source`` is a file or helper, ``problem`` why one could not be asked."""

    login: Login | None
    source: str = ""
    problem: str = ""


class Stored(NamedTuple):
    """Where a login was put; ``plain`` if anybody who reads that file has the password."""

    place: str
    plain: bool


class CredentialFiles(NamedTuple):
    """The files to look into, best first; a new login goes to the first."""

    paths: tuple[str, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> CredentialFiles:
        """Decide from the environment: REGISTRY_AUTH_FILE alone, else Docker's file, then Podman's two."""
        only = environ.get("REGISTRY_AUTH_FILE")
        if only:
            return cls((only,))
        home = environ.get("HOME") or os.path.expanduser("~")
        paths = [os.path.join(environ.get("DOCKER_CONFIG") or f"{home}/.docker", "config.json")]
        if environ.get("XDG_RUNTIME_DIR"):
            paths.append(f"{environ['XDG_RUNTIME_DIR']}/containers/auth.json")
        paths.append(os.path.join(environ.get("XDG_CONFIG_HOME") or f"{home}/.config", "containers/auth.json"))
        return cls(tuple(paths))


def find(files: CredentialFiles, registry: str, repository: str = "") -> Found:
    """Look for credentials of ``registry``; Podman's files may hold some for a repository or a part of its name.

    A helper that fails is not an error: most images are public. Its complaint is kept for the
    message that follows if the registry does want credentials.
    """
    problem = ""
    for path in files.paths:
        config = _read(path)
        helper = _helper(config, registry)
        if helper:
            try:
                return Found(_ask_helper(helper, registry), f"docker-credential-{helper}")
            except NotFound:
                pass
            except RlError as e:
                problem = e.message
        for key, entry in _entries(config, registry, repository):
            login = _decode(entry)
            if login:
                return Found(login, f"{path} ({key})", problem)
    return Found(None, "", problem)


def store(files: CredentialFiles, registry: str, login: Login) -> Stored:
    """Keep ``login`` in the helper that the first file names, else in that file (mode 0600)."""
    path = files.paths[0]
    config = _read(path)
    helper = _helper(config, registry)
    auths: dict[str, Any] = config.setdefault("auths", {})
    if helper:
        secret = (
            {"Username": _TOKEN_USER, "Secret": login.identity_token}
            if login.identity_token
            else {"Username": login.username, "Secret": login.password}
        )
        _run_helper(helper, "store", json.dumps({"ServerURL": _key(registry), **secret}))
        auths[_key(registry)] = {}  # Docker's way to remember that it is logged in
        _write(path, config)
        return Stored(f"docker-credential-{helper}", plain=False)
    password = "" if login.identity_token else login.password
    entry = {"auth": base64.b64encode(f"{login.username}:{password}".encode()).decode()}
    if login.identity_token:
        entry["identitytoken"] = login.identity_token
    auths[_key(registry)] = entry
    _write(path, config)
    return Stored(path, plain=True)


def erase(files: CredentialFiles, registry: str) -> bool:
    """Forget every login for ``registry``; tell whether there was one."""
    erased = False
    for path in files.paths:
        config = _read(path)
        helper = _helper(config, registry)
        if helper:
            try:
                _ask_helper(helper, registry)
                _run_helper(helper, "erase", _key(registry))
                erased = True
            except RlError:  # nothing there, or no such helper: nothing to forget
                pass
        keys = [key for key, _ in _entries(config, registry, "")]
        for key in keys:
            del config["auths"][key]
        if keys:
            _write(path, config)
            erased = True
    return erased


def normalise(server: str) -> str:
    """Return the registry that ``server``, as typed or as a key in a file, means: ``docker.io``, ``host:port``."""
    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "") else host


def _key(registry: str) -> str:
    return _DOCKER_HUB if registry == "docker.io" else registry


def _entries(config: dict[str, Any], registry: str, repository: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the entries of ``auths`` that apply, the most special first."""
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return
    path = f"{registry}/{repository}" if repository else registry
    while path != registry:  # containers-auth.json(5): registry/namespace/repository, then its parents
        if isinstance(auths.get(path), dict):
            yield path, auths[path]
        path = path.rpartition("/")[0]
    for key in (_key(registry), registry, *auths):
        entry = auths.get(key)
        plain = "/" not in key.removeprefix("https://").removeprefix("http://").rstrip("/") or "://" in key
        if isinstance(entry, dict) and plain and normalise(key) == registry:
            yield key, entry
            return


def _decode(entry: dict[str, Any]) -> Login | None:
    username, password = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str) and entry["auth"]:
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Login(str(username or ""), "", token)
    if isinstance(username, str) and username and isinstance(password, str):
        return Login(username, password)
    return None


def _helper(config: dict[str, Any], registry: str) -> str:
    helpers = config.get("credHelpers")
    if isinstance(helpers, dict):
        for key, helper in helpers.items():
            if isinstance(helper, str) and helper and normalise(key) == registry:
                return helper
    store_name = config.get("credsStore")
    return store_name if isinstance(store_name, str) else ""


def _ask_helper(helper: str, registry: str) -> Login | None:
    try:
        answer = json.loads(_run_helper(helper, "get", _key(registry)))
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError) as e:
        raise StoreError(f"docker-credential-{helper} answered nonsense to 'get'") from e
    return Login("", "", secret) if username == _TOKEN_USER else Login(username, secret)


def _run_helper(helper: str, verb: str, text: str) -> str:
    import subprocess  # here: few people have a helper

    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise StoreError(f"{helper!r} is not the name of a credential helper")
    try:
        done = subprocess.run((program, verb), input=text, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as e:
        raise StoreError(
            f"the credential helper {program} is not on the PATH",
            hint="install it, or remove credsStore and credHelpers from the configuration file",
        ) from e
    except (OSError, subprocess.TimeoutExpired) as e:
        raise StoreError(f"the credential helper {program} failed: {e}") from e
    if done.returncode:
        # The protocol has the complaint on standard output.
        complaint = (done.stdout.strip() or done.stderr.strip()).splitlines()[:1]
        if complaint and "not found" in complaint[0]:
            raise NotFound(complaint[0])
        raise StoreError(f"the credential helper {program} failed: {' '.join(complaint) or done.returncode}")
    return done.stdout


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read() or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise StoreError(f"cannot read the credentials in {path!r}: {e.strerror}") from e
    except ValueError as e:
        raise StoreError(f"{path!r} is not valid JSON: {e}", hint=f"repair it or move it: mv {path} {path}.old") from e
    if not isinstance(config, dict):
        raise StoreError(f"{path!r} is not a JSON object")
    if not isinstance(config.get("auths", {}), dict):
        raise StoreError(f"'auths' in {path!r} is not a JSON object")
    return config


def _write(path: str, config: dict[str, Any]) -> None:
    # A configuration that is a link into a collection of dotfiles stays one.
    path = os.path.realpath(path)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "w", encoding="utf-8") as file:
                os.fchmod(fd, 0o600)
                json.dump(config, file, indent="\t")
                file.write("\n")
                file.flush()
                os.fsync(fd)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as e:
        raise StoreError(f"cannot write the credentials to {path!r}: {e.strerror}") from e
