"""What is built and what is locked: the wheel's content, and lock files that agree with pyproject.toml."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(os.environ.get("RL_TEST_SOURCE") or Path(__file__).parents[2])
PACKAGES = ("rootless", "idmap", "fs")
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build a wheel of a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree") / "rl"
    for package in PACKAGES:
        shutil.copytree(SOURCE / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(SOURCE / name, tree)
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tree / "dist"))
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (tree / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def _project() -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads((SOURCE / "pyproject.toml").read_text())
    return document


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0].replace(".", "-").lower() for text in requirements}


def _locked(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+)==", (SOURCE / name).read_text(), re.MULTILINE))


def test_the_wheel_has_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist() if not re.match(r"[^/]+\.(dist-info|data)/", name)}
    assert top == set(PACKAGES)


def test_the_wheel_is_pure_and_has_the_licence(wheel: zipfile.ZipFile) -> None:
    """No compiled code of our own; the script is rl."""
    names = wheel.namelist()
    assert [name for name in names if name.endswith((".so", ".pyd", ".a"))] == []
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert [name for name in names if name.endswith("entry_points.txt")] == []
    (script,) = (info for info in wheel.infolist() if ".data/scripts/" in info.filename)
    assert script.filename.endswith("/rl")
    assert script.external_attr >> 16 & 0o111  # pip takes the mode of the file
    assert wheel.read(script).startswith(b"#!python\n")  # and writes the environment's Python here
    (metadata,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
    assert b"Tag: py3-none-any" in wheel.read(metadata)


def test_the_wheel_has_every_module_of_the_tree(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(SOURCE)) for package in PACKAGES for path in (SOURCE / package).rglob("*.py")}
    assert modules <= set(wheel.namelist())


def test_what_is_locked_is_what_is_asked_for() -> None:
    project = _project()
    needed = _names(project["project"]["dependencies"])
    assert needed <= _locked("requirements.lock")
    assert needed | _names(project["dependency-groups"]["dev"]) <= _locked("requirements-dev.lock")
    assert _locked("requirements.lock") <= _locked("requirements-dev.lock")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_digests_and_names_no_host(name: str) -> None:
    """Whoever installs from a mirror gets the same bytes."""
    text = (SOURCE / name).read_text()
    entries = re.findall(r"^[a-z0-9._-]+==.*(?:\n    .*)*", text, re.MULTILINE)
    assert entries
    assert [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.search(r"https?://|file:|--(extra-)?index|--find-links", text) is None


def test_every_dependency_has_its_reason() -> None:
    """docs/develop/dependencies.md has a row for each direct dependency and tool."""
    project = _project()
    text = (SOURCE / "docs" / "develop" / "dependencies.md").read_text().replace(".", "-")
    direct = _names(project["project"]["dependencies"]) | _names(project["dependency-groups"]["dev"])
    assert sorted(name for name in direct if f"`{name}`" not in text) == []
