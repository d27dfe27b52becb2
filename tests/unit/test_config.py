"""Settings come from config.toml and the environment, and nonsense in either is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootless import config
from rootless.config import Settings
from rootless.errors import UsageError


def write(path: Path, text: str) -> str:
    (path / "config.toml").write_text(text)
    return str(path)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert config.load(str(tmp_path / "missing"), {}) == Settings()


def test_a_file_sets_what_it_says(tmp_path: Path) -> None:
    text = 'insecure_registries = ["a:5000"]\nregistry_ca = "/ca.pem"\nmax_parallel_layers = 2\n'
    assert config.load(write(tmp_path, text), {}) == Settings(
        insecure_registries=("a:5000",), registry_ca=("/ca.pem",), max_parallel_layers=2
    )


def test_the_environment_wins(tmp_path: Path) -> None:
    environ = {"RL_INSECURE_REGISTRIES": "b, c:1 ,", "RL_MAX_PARALLEL_LAYERS": "3", "RL_STORAGE_DRIVER": "plain"}
    settings = config.load(write(tmp_path, 'insecure_registries = ["a"]\nstorage_driver = "overlay"\n'), environ)
    assert settings == Settings(insecure_registries=("b", "c:1"), storage_driver="plain", max_parallel_layers=3)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("insecure_registrys = []", "unknown setting 'insecure_registrys'"),
        ("insecure_registries = 5", "must be a list of strings"),
        ("insecure_registries = [5]", "must be a list of strings"),
        ("max_parallel_layers = 0", "must be a positive number"),
        ("max_parallel_layers = true", "must be a positive number"),
        ("storage_driver = 1", "must be a string"),
        ("= 5", "is not valid TOML"),
        ("\xff", "is not valid TOML"),
    ],
)
def test_nonsense_is_told_with_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "config.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=complaint) as caught:
        config.load(str(tmp_path), {})
    assert "config.toml" in caught.value.message


def test_nonsense_in_the_environment_is_told_with_the_variable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RL_REGISTRY_TIMEOUT must be a number"):
        config.load(str(tmp_path), {"RL_REGISTRY_TIMEOUT": "soon"})
