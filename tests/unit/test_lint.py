"""Style, types and the length of files, on the tree that is tested."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

#: The tree with the packages: the test command keeps it apart from the tests, so that they import the wheel.
SOURCE = Path(os.environ.get("RL_TEST_SOURCE") or Path(__file__).parents[2])
CHECKED = ("rootless", "idmap", "fs", "tests", "dev.py")
LONGEST_FILE = {"rootless": 450, "idmap": 450, "fs": 450, "tests": 600}


def _tool(*command: str, **variables: str) -> None:
    """Run a tool of this environment in the tree; what it says is the failure."""
    environment = {**os.environ, **variables, "NO_COLOR": "1"}
    done = subprocess.run(
        (sys.executable, "-m", *command), cwd=SOURCE, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff_finds_nothing() -> None:
    """The rules are in pyproject.toml."""
    _tool("ruff", "check", "--no-cache", *CHECKED)


def test_ruff_would_format_nothing() -> None:
    _tool("ruff", "format", "--no-cache", "--check", *CHECKED)


@pytest.mark.timeout(600)
def test_mypy_finds_nothing(tmp_path: Path) -> None:
    """Strict, for the oldest Python we support."""
    _tool("mypy", f"--cache-dir={tmp_path}")


@pytest.mark.timeout(600)
def test_pyright_finds_nothing(tmp_path: Path) -> None:
    """Its node is a package of PyPI; what it would still write goes to a directory that is removed."""
    _tool("pyright", "--pythonpath", sys.executable, HOME=str(tmp_path), PYRIGHT_PYTHON_IGNORE_WARNINGS="1")


def test_the_small_tools_of_the_repository_are_valid_shell() -> None:
    done = subprocess.run(("bash", "-n", str(SOURCE / ".ci/run")), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_file_is_long() -> None:
    """A module has one job; generated tables are data and may be long."""
    found = {
        str(path.relative_to(SOURCE)): lines
        for package, longest in LONGEST_FILE.items()
        for path in sorted((SOURCE / package).rglob("*.py"))
        if (lines := len(path.read_bytes().splitlines())) > longest and "numbers" not in path.stem
    }
    assert found == {}


def test_package_files_are_empty() -> None:
    """A child process must be able to import one module without importing the world."""
    found = [
        str(path.relative_to(SOURCE))
        for package in ("rootless", "idmap", "fs")
        for path in sorted((SOURCE / package).rglob("__init__.py"))
        if path.stat().st_size
    ]
    assert found == []


def test_every_module_says_its_job_first() -> None:
    """The first statement of a module is its docstring."""
    import ast

    found = [
        str(path.relative_to(SOURCE))
        for package in ("rootless", "idmap", "fs")
        for path in sorted((SOURCE / package).rglob("*.py"))
        if path.stat().st_size and ast.get_docstring(ast.parse(path.read_bytes())) is None
    ]
    assert found == []


def test_the_interpreter_is_one_we_support() -> None:
    assert sys.version_info >= (3, 10), platform.python_version()
