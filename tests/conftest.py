"""Fixtures for all tests; what they give is in tests/support."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support import images as recipes
from tests.support import registry as registries
from tests.support import skips, users
from tests.support.cache import Unavailable
from tests.support.home import Home, Rl
from tests.support.images import Image
from tests.support.registry import Registry
from tests.support.users import Me

IN_CI = os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # the hook's result travels through the generator
    """Fail a test that CI requires and that was skipped."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not skips.is_allowed(reason.removeprefix("Skipped: ")):
            report.outcome = "failed"
            report.longrepr = f"required here, but skipped: {reason}"
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def me() -> Me:
    """Who runs the tests."""
    return users.me()


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where the host does not let this user make namespaces."""
    if reason := users.namespaces_forbidden():
        pytest.skip(f"no namespaces here: {reason}")


@pytest.fixture
def needs_ranges(me: Me) -> None:
    """Skip where the user has no usable lines in /etc/subuid and /etc/subgid."""
    if not me.has_ranges:
        pytest.skip("needs subuid ranges")


@pytest.fixture
def needs_one_id(me: Me) -> None:
    """Skip where the user has subuid ranges, or is root."""
    if me.has_ranges or me.is_root:
        pytest.skip("needs no subuid ranges")


@pytest.fixture
def needs_root(me: Me) -> None:
    """Skip where the user is not root."""
    if not me.is_root:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def images() -> Callable[[str], Image]:
    """Return a function from ``busybox``, ``alpine``, ``debian`` or ``redis`` to its OCI layout."""

    def get(name: str) -> Image:
        try:
            return recipes.get(name)
        except Unavailable as e:
            pytest.skip(f"the image {name} cannot be made: {e}")

    return get


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Run a registry with TLS and a password that has every image; it refuses pushes."""
    directory = str(tmp_path_factory.mktemp("registry"))
    try:
        with registries.serve(directory, registries.filled_store(), readonly=True) as running:
            yield running
    except Unavailable as e:
        pytest.skip(f"no registry: {e}")


@pytest.fixture
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Run an empty registry over plain HTTP that takes pushes from everybody (``registry.push``)."""
    directory = str(tmp_path_factory.mktemp("registry"))
    try:
        with registries.serve(directory, f"{directory}/store", tls=False, auth=False) as running:
            yield running
    except Unavailable as e:
        pytest.skip(f"no registry: {e}")


@pytest.fixture
def home() -> Iterator[Home]:
    """Make a home of the test's own; afterwards what still runs is killed and all is removed."""
    made = Home()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def rl(home: Home) -> Rl:
    """Run the installed rl in the test's home."""
    return Rl(home)


@pytest.fixture
def trusting(home: Home, registry: Registry) -> Registry:
    """Let the home trust the registry's CA, without a password."""
    home.trust(registry)
    return registry


@pytest.fixture
def logged_in(home: Home, registry: Registry) -> Registry:
    """Let the home trust the registry and know its password."""
    home.log_in(registry)
    return registry


@pytest.fixture
def pulled(rl: Rl, logged_in: Registry, namespaces: None) -> Callable[[str], str]:
    """Return a function that pulls ``busybox`` or ``debian:zstd`` from the registry and returns the reference."""

    def pull(image: str) -> str:
        reference = logged_in.reference(image)
        rl.ok("pull", "-q", reference, timeout=120)
        return reference

    return pull
