"""The index of recorded owners: every name survives, and one record is found without reading all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from idmap import owners
from idmap.owners import OwnerRecord

names = st.binary(min_size=1, max_size=12).map(lambda b: os.fsdecode(b.replace(b"\0", b"\\")))
awkward = st.text(alphabet="\\nt\n\t a/", min_size=1, max_size=8)
records = st.builds(
    OwnerRecord,
    path=names | awkward,
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mode=st.integers(0, 0o177777),
    rdev=st.sampled_from(["", "c:1:3", "b:8:0"]),
)


@settings(max_examples=200)
@given(st.lists(records, max_size=30, unique_by=lambda r: r.path), st.lists(names | awkward, max_size=5))
def test_records_are_read_and_found_as_they_were_written(written: list[OwnerRecord], others: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/owners"
        owners.write(path, written)
        assert owners.read(path) == sorted(written, key=lambda r: os.fsencode(r.path))
        by_path = {r.path: r for r in written}
        for name in [*by_path, *others]:
            assert owners.find(path, name) == by_path.get(name)


def test_no_records_are_no_file(tmp_path: Path) -> None:
    path = tmp_path / "owners"
    assert owners.read(str(path)) == []
    assert owners.find(str(path), "a") is None
    owners.write(str(path), [OwnerRecord("a", 1, 2, 0o100644)])
    assert os.listdir(tmp_path) == ["owners"]
    owners.write(str(path), [])
    assert os.listdir(tmp_path) == []


def test_the_later_record_of_a_path_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "owners")
    owners.write(path, [OwnerRecord("a", 1, 1, 0o100644), OwnerRecord("a", 2, 2, 0o020666, "c:1:3")])
    assert owners.read(path) == [OwnerRecord("a", 2, 2, 0o020666, "c:1:3")]


def test_the_format_on_disk_stays(tmp_path: Path) -> None:
    path = tmp_path / "owners"
    owners.write(str(path), [OwnerRecord("dev/null", 0, 0, 0o020666, "c:1:3"), OwnerRecord("a\nb", 33, 5, 0o100755)])
    assert path.read_bytes() == b"a\\nb\t33\t5\t100755\t\ndev/null\t0\t0\t20666\tc:1:3\n"
