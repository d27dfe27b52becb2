"""Imports go down only: the contract in pyproject.toml, which is the drawing in docs/develop/architecture.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(os.environ.get("RL_TEST_SOURCE") or Path(__file__).parents[2])


def _check(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages in ``tree``, not on the installed ones."""
    command = (sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache")
    environment = {**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def _copy(target: Path) -> Path:
    for package in ("rootless", "idmap", "fs"):
        shutil.copytree(SOURCE / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SOURCE / "pyproject.toml", target)
    return target


def test_imports_go_down_only() -> None:
    done = _check(SOURCE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_import_upwards_is_found(tmp_path: Path) -> None:
    """The contract is alive: it sees the tree it is given."""
    tree = _copy(tmp_path)
    with (tree / "idmap" / "ranges.py").open("a") as f:
        f.write("\nfrom rootless.engine import images\n")
    (tree / "rootless" / "engine" / "images.py").touch()
    done = _check(tree)
    assert done.returncode != 0
    assert "idmap.ranges" in done.stdout


def test_the_drawing_names_every_layer() -> None:
    """Each package that exists is in the drawing of the architecture."""
    drawing = (SOURCE / "docs" / "develop" / "architecture.md").read_text()
    packages = [f"rootless.{path.parent.name}" for path in sorted((SOURCE / "rootless").glob("*/__init__.py"))]
    assert [name for name in packages if name not in drawing] == []
