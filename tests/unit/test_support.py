"""The tests' own tools: layers that are differences, cleaning up, and the sum of the turns."""

from __future__ import annotations

import os
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support import cache, oci, skips, turns, users
from tests.support.cache import Unavailable


def _nothing(_: str) -> bool:
    return False


def _names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_a_difference_has_what_changed_and_whiteouts_for_what_is_gone(tmp_path: Path) -> None:
    """image-spec layer.md; a whole directory that is gone is one whiteout."""
    lower, upper, layer = (tmp_path / name for name in ("lower", "upper", "layer"))
    with oci.TarWriter(str(lower)) as out:
        for name in ("same", "gone", "etc"):
            out.directory(name)
        out.file("same/file", b"1")
        out.file("gone/file", b"1")
        out.file("etc/changed", b"1")
        out.file("etc/removed", b"1")
    with oci.TarWriter(str(upper)) as out:
        for name in ("same", "etc", "new"):
            out.directory(name)
        out.file("same/file", b"1")
        out.file("etc/changed", b"2")
        out.file("new/file")
        out.hardlink("new/link", "new/file")
    oci.difference(str(lower), str(upper), str(layer), _nothing)
    assert _names(layer) == ["etc/.wh.removed", ".wh.gone", "etc", "new", "etc/changed", "new/file", "new/link"]


def test_a_difference_brings_the_file_that_a_new_link_points_to(tmp_path: Path) -> None:
    """A hard link's target must be in the same layer or a lower one, whichever name tar saw first."""
    lower, upper, layer = (tmp_path / name for name in ("lower", "upper", "layer"))
    with oci.TarWriter(str(lower)) as out:
        out.file("a", b"1")
    with oci.TarWriter(str(upper)) as out:
        out.file("a", b"1")
        out.hardlink("b", "a")
    oci.difference(str(lower), str(upper), str(layer), _nothing)
    assert _names(layer) == ["a", "b"]


def test_a_layout_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Digests of images stay the same, so that what is cached stays right."""
    tar = tmp_path / "tar"
    with oci.TarWriter(str(tar)) as out:
        out.file("file", b"content" * 1000, 0o4755, 12, 34)
    indexes: list[bytes] = []
    for name in ("one", "two"):
        layout = oci.Layout(str(tmp_path / name))
        layers = [layout.layer(str(tar), compression) for compression in ("tar", "gzip", "zstd")]
        layout.tag("latest", layout.image(layers, {"Cmd": ["true"]}))
        layout.close()
        indexes.append((tmp_path / name / "index.json").read_bytes())
        assert {layer.diff_id for layer in layers} == {layers[0].descriptor["digest"]}
    assert indexes[0] == indexes[1]


def test_a_closed_directory_is_removed(tmp_path: Path) -> None:
    """overlayfs leaves work/ with mode 000."""
    where = tmp_path / "home" / "work" / "work"
    where.mkdir(parents=True)
    where.chmod(0)
    users.remove_tree(str(tmp_path / "home"))
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_made_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RL_TEST_CACHE", str(tmp_path))

    def fail(staging: str) -> None:
        (Path(staging) / "half").touch()
        raise Unavailable("no such package")

    with pytest.raises(Unavailable, match="no such package"):
        cache.get("thing", fail)
    assert os.listdir(tmp_path) == ["thing.lock"]
    made = cache.get("thing", lambda staging: (Path(staging) / "whole").touch())
    assert os.listdir(made) == ["whole"]


def _report(path: Path, **outcomes: str) -> str:
    suite = ET.Element("testsuite")
    for name, outcome in outcomes.items():
        case = ET.SubElement(suite, "testcase", classname="tests.e2e", name=name)
        if outcome:
            ET.SubElement(case, outcome, message="needs root")
    ET.ElementTree(suite).write(path)
    return str(path)


def test_the_sum_counts_all_turns_and_names_what_ran_in_none(tmp_path: Path) -> None:
    first = _report(tmp_path / "1", both="", elsewhere="skipped", nowhere="skipped", bad="failure")
    second = _report(tmp_path / "2", both="", elsewhere="", nowhere="skipped", bad="error")
    total = turns.Sum([first, second])
    assert (total.passed, total.failed, len(total.skipped), total.broken) == (3, 2, 3, False)
    assert total.never_ran() == {"needs root": ["tests.e2e::nowhere"]}


def test_the_last_line_of_the_sum_is_plain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert turns.summary([_report(tmp_path / "1", one="", two="skipped", three="failure")], whole=False) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"


def test_a_turn_without_tests_is_a_failure(tmp_path: Path) -> None:
    """A run that died early must not pass."""
    assert turns.summary([_report(tmp_path / "1", one=""), str(tmp_path / "missing")], whole=True) == 1


def test_a_skip_for_an_unknown_reason_is_not_allowed() -> None:
    assert not skips.is_allowed("skopeo is not installed")
    assert skips.is_allowed("only on aarch64: it is its number")
