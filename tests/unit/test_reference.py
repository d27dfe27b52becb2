"""The reference says what the code does: commands, options, settings, variables, exit codes."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rootless import config, errors
from rootless.isolation import capabilities, devices, masks

SOURCE = Path(os.environ.get("RL_TEST_SOURCE") or Path(__file__).parents[2])
REFERENCE = SOURCE / "docs" / "reference"
#: Variables that are no settings of config.toml.
PLACES = {"RL_DATA", "RL_RUNTIME", "RL_CONFIG", "RL_DEBUG"}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Import docs/generate.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("generate", SOURCE / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commands_and_options_are_those_of_the_table(generator: ModuleType) -> None:
    """If not: python docs/generate.py."""
    assert (REFERENCE / "cli.md").read_text() == generator.reference()


def rows(document: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of a document's tables by the text of their first cell's code."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (REFERENCE / document).read_text().splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if line.startswith("| `") and (name := re.match(r"`([^`]*)`", cells[0])):
            found[name[1]] = cells[1:]
    return found


def test_every_setting_has_a_row_with_its_default() -> None:
    documented = rows("configuration.md")
    for name, default in config.Settings()._asdict().items():
        shown = documented[name][0]
        assert shown == ("" if default in ("", ()) else f"`{default}`"), name


def test_every_variable_of_the_code_has_a_row() -> None:
    documented = {name for name in rows("configuration.md") if name.startswith("RL_")}
    assert documented == PLACES
    used = {
        name
        for package in ("rootless", "idmap", "fs")
        for path in (SOURCE / package).rglob("*.py")
        for name in re.findall(r"\"(RL_[A-Z]+)\"", path.read_text())
    }
    assert used - PLACES == set()


def classes(root: type[errors.RlError]) -> Iterator[type[errors.RlError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == "rootless.errors":
            yield from classes(child)


def test_every_exit_code_has_a_row() -> None:
    documented = set(rows("exit-codes.md"))
    codes = {str(code) for kind in classes(errors.RlError) for code in (kind.exit_code, kind.verb_exit_code)}
    assert codes <= documented


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Capabilities", capabilities.DEFAULT_NAMES),
        ("Hidden and read-only paths", (*masks.MASKED, *masks.READONLY)),
        ("Devices", tuple(device.path for device in devices.DEVICES)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_security_page_names_exactly_what_there_is(heading: str, names: tuple[str, ...]) -> None:
    text = (REFERENCE / "security.md").read_text()
    _, _, section = text.partition(f"\n## {heading}\n")
    (block,) = re.findall(r"```text\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert sorted(block.split()) == sorted(names)
