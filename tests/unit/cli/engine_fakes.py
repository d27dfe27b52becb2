"""Engines that remember what they were asked."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import pytest

import rootless.engine
from rootless.errors import NotFound


class ContainerView(NamedTuple):
    id: str
    name: str
    image: str = "busybox"
    command: tuple[str, ...] = ("sh",)
    created: int = 0
    state: str = "running"
    exit_code: int = 0
    started: int = 0
    finished: int = 0
    labels: dict[str, str] = {}  # noqa: RUF012
    ports: str = ""


class ImageView(NamedTuple):
    reference: str
    repository: str
    tag: str
    id: str
    digest: str = ""
    created: int = 0
    size: int = 0


class FakeEngine:
    """Both ``engine.run`` and ``engine.containers`` and ``engine.images``: every call is kept in ``calls``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.views: tuple[ContainerView, ...] = ()
        self.image_views: tuple[ImageView, ...] = ()
        self.things: dict[str, dict[str, Any]] = {}
        self.code = 0
        self.failure: BaseException | None = None

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    def _known(self, name: str) -> None:
        if name.startswith("no"):
            raise NotFound(f"No such container: {name}")

    def run(self, request: Any) -> int:
        self._called("run", request)
        return self.code

    def create(self, request: Any) -> str:
        self._called("create", request)
        return "c" * 64

    def list_containers(self, all: bool) -> tuple[ContainerView, ...]:  # noqa: A002
        self._called("list", all)
        return self.views

    def start(self, names: Any, *, attach: bool, interactive: bool, detach_keys: str) -> int:
        self._called("start", names, attach, interactive, detach_keys)
        for name in names:
            self._known(name)
        return self.code

    def stop(self, name: str, timeout: int | None, signal: str | None) -> None:
        self._called("stop", name, timeout, signal)
        self._known(name)

    def kill(self, name: str, signal: str) -> None:
        self._called("kill", name, signal)

    def remove(self, name: str, *, force: bool, volumes: bool = False) -> Any:
        self._called("remove", name, force)
        self._known(name)
        return (f"Untagged: {name}",)

    def wait(self, name: str) -> int:
        self._called("wait", name)
        self._known(name)
        return self.code

    def logs(self, name: str, **how: Any) -> None:
        self._called("logs", name, how)

    def attach(self, name: str, *, stdin: bool, sig_proxy: bool, detach_keys: str) -> int:
        self._called("attach", name, stdin, sig_proxy, detach_keys)
        return self.code

    def exec_(self, request: Any) -> int:
        self._called("exec", request)
        return self.code

    def inspect(self, name: str) -> dict[str, Any]:
        self._called("inspect", name)
        if name not in self.things:
            raise NotFound(f"No such object: {name}")
        return self.things[name]

    def list_images(self) -> tuple[ImageView, ...]:
        return self.image_views

    def pull(self, name: str, *, platform: str | None, quiet: bool, out: Any) -> str:
        self._called("pull", name, platform, quiet)
        return f"docker.io/library/{name}:latest"

    def tag(self, source: str, target: str) -> None:
        self._called("tag", source, target)

    def login(self, server: str, username: str, password: str) -> str:
        self._called("login", server, username, password)
        return "Login Succeeded"

    def logout(self, server: str) -> str:
        self._called("logout", server)
        return f"Removing login credentials for {server}"


def install(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Put a fake in place of the engine's modules until the test ends."""
    fake = FakeEngine()
    for module in ("run", "containers", "images"):
        monkeypatch.setitem(sys.modules, f"rootless.engine.{module}", fake)
        monkeypatch.setattr(rootless.engine, module, fake, raising=False)
    return fake
