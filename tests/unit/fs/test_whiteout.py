"""Whiteouts are understood as image-spec means them and written as overlayfs reads them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fs import whiteout
from fs.whiteout import Kind, Whiteout
from rootless.errors import BadImage


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    probe = tmp_path / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"")
    except OSError:
        pytest.skip("no user xattrs on this file system")
    probe.unlink()
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        (b"a/b", None),
        (b"a.wh.b", None),
        (b".whatever", None),
        (b".wh.a", Whiteout(Kind.HIDE, b"a")),
        (b"x/y/.wh.a.b", Whiteout(Kind.HIDE, b"x/y/a.b")),
        (b"x/.wh..hidden", Whiteout(Kind.HIDE, b"x/.hidden")),
        (b".wh..wh..opq", Whiteout(Kind.OPAQUE, b"")),
        (b"x/.wh..wh..opq", Whiteout(Kind.OPAQUE, b"x")),
        (b".wh..wh.aufs", Whiteout(Kind.IGNORED, b".wh..wh.aufs")),
        (b".wh..wh.plnk/1.2", Whiteout(Kind.IGNORED, b".wh..wh.plnk/1.2")),
        (b"x/.wh..wh.orph/y", Whiteout(Kind.IGNORED, b"x/.wh..wh.orph/y")),
        (b".wh.dir/file", None),
    ],
)
def test_names(path: bytes, meaning: Whiteout | None) -> None:
    assert whiteout.parse(path) == meaning


@pytest.mark.parametrize("path", [b".wh.", b"a/.wh.", b".wh..", b"a/.wh..."])
def test_names_that_hide_nothing_or_too_much(path: bytes) -> None:
    with pytest.raises(BadImage, match="whiteout"):
        whiteout.parse(path)


def test_a_whiteout_is_a_device_where_it_can_be(directory: int, tmp_path: Path) -> None:
    if not whiteout.make(directory, b"gone"):
        pytest.skip("this file system has no whiteout devices")
    status = (tmp_path / "gone").lstat()
    assert stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
    assert whiteout.is_whiteout(directory, b"gone")
    assert os.listxattr(tmp_path) == []


def test_else_a_file_with_an_attribute_in_a_marked_directory(directory: int, tmp_path: Path) -> None:
    assert not whiteout.make(directory, b"gone", device=False)
    assert os.getxattr(tmp_path / "gone", "user.overlay.whiteout") == b"y"
    assert (tmp_path / "gone").stat().st_size == 0
    assert os.getxattr(tmp_path, "user.overlay.opaque") == b"x"
    assert whiteout.is_whiteout(directory, b"gone")


def test_an_opaque_directory_needs_and_keeps_no_such_files(directory: int, tmp_path: Path) -> None:
    whiteout.make(directory, b"gone", device=False)
    (tmp_path / "stays").touch()
    whiteout.make_opaque(directory, b".")
    assert os.getxattr(tmp_path, "user.overlay.opaque") == b"y"
    assert not whiteout.make(directory, b"other", device=False)
    assert os.listdir(tmp_path) == ["stays"]


def test_ordinary_files_are_no_whiteouts(directory: int, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    assert not any(whiteout.is_whiteout(directory, name) for name in (b"empty", b"dir", b"link"))
    with pytest.raises(FileExistsError):
        whiteout.make(directory, b"empty")
