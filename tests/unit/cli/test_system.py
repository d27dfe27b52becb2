"""What ``rl info`` and ``rl version`` say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rootless.cli.main import main
from rootless.engine import system


def test_version_is_keys_that_scripts_know(capsys: pytest.CaptureFixture[str]) -> None:
    facts = system.version()
    assert set(facts) == {"Version", "Python", "Os", "Arch", "KernelVersion"}
    assert main(["version", "-f", "{{.Version}}"]) == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{facts['Version']}\nrl version {facts['Version']}\n"


def test_info_works_without_a_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATA", "RUNTIME", "CONFIG"):
        monkeypatch.setenv(f"RL_{name}", str(tmp_path / name))
    assert main(["info", "-f", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["Paths"] == {name.title(): str(tmp_path / name) for name in ("DATA", "RUNTIME", "CONFIG")}
    assert facts["Containers"] == {"Total": 0, "Running": 0}
    assert facts["Images"] == 0
    assert facts["Ids"]["Way"] in ("one", "range")
    assert facts["Storage"].get("Driver") in ("overlay", "plain") or facts["Storage"]["Error"]
    assert main(["info"]) == 0
    assert "Storage:\n Driver: " in capsys.readouterr().out or "Error" in facts["Storage"]


def test_a_cgroup_v2_tells_its_controllers(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "a.scope"
    own.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    (own / "cgroup.controllers").write_text("memory pids\n")
    (own / "cgroup.procs").write_text("")
    assert system.cgroup("1:name=x:/\n0::/user.slice/a.scope\n", str(tmp_path)) == {
        "Version": 2,
        "Path": "/user.slice/a.scope",
        "Delegated": True,
        "Controllers": ["memory", "pids"],
    }


def test_a_host_without_cgroup_v2_says_so(tmp_path: Path) -> None:
    assert system.cgroup("", str(tmp_path)) == {"Version": 0, "Delegated": False}
    (tmp_path / "memory").mkdir()
    assert system.cgroup("", str(tmp_path)) == {"Version": 1, "Delegated": False}
