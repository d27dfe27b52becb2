"""Paths are resolved inside of the root, by the kernel's openat2 and by our walk alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fs import beneath
from rootless.errors import BadImage


def by_walk(root: int, path: bytes) -> int:
    return beneath.walk(root, path).fd


both = pytest.mark.parametrize("resolve", [beneath.open_directory, by_walk], ids=["openat2", "walk"])
Resolve = Callable[[int, bytes], int]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    top = tmp_path / "root"
    (top / "a/b/c").mkdir(parents=True)
    (top / "file").touch()
    (top / "absolute").symlink_to("/a/b")
    (top / "relative").symlink_to("a/b")
    (top / "up").symlink_to("../../../../a")
    (top / "a/b/back").symlink_to("../../absolute/c")
    (top / "dangling").symlink_to("/new/place")
    (top / "loop").symlink_to("loop2")
    (top / "loop2").symlink_to("loop")
    (top / "outside").symlink_to(str(tmp_path / "victim"))
    (tmp_path / "victim").mkdir()
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def where(root: int, fd: int) -> str:
    try:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), os.readlink(f"/proc/self/fd/{root}"))
    finally:
        os.close(fd)


@both
@pytest.mark.parametrize(
    ("path", "real"),
    [
        (b"", "."),
        (b"a/b/c", "a/b/c"),
        (b"absolute/c", "a/b/c"),
        (b"relative", "a/b"),
        (b"up/b", "a/b"),
        (b"relative/back", "a/b/c"),
        (b"..", "."),
        (b"a/../../a", "a"),
        (b"/a//b/.", "a/b"),
    ],
)
def test_links_and_dots_stay_inside(root: int, resolve: Resolve, path: bytes, real: str) -> None:
    assert where(root, resolve(root, path)) == real


@both
@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"missing", FileNotFoundError),
        (b"dangling", FileNotFoundError),
        (b"outside", FileNotFoundError),
        (b"file", NotADirectoryError),
        (b"file/x", NotADirectoryError),
        (b"loop/x", OSError),
    ],
)
def test_what_cannot_be_opened(root: int, resolve: Resolve, path: bytes, error: type[OSError]) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(error):
        resolve(root, path)
    assert os.listdir("/proc/self/fd") == before


def test_missing_directories_are_made_also_where_links_dangle(root: int, tmp_path: Path) -> None:
    made: list[bytes] = []
    directory = beneath.walk(root, b"dangling/x", made.append)
    assert directory.path == b"new/place/x"
    assert where(root, directory.fd) == "new/place/x"
    assert made == [b"new", b"new/place", b"new/place/x"]
    directory = beneath.walk(root, b"outside/x", made.append)
    assert where(root, directory.fd) == os.fsdecode(directory.path)
    assert not os.listdir(tmp_path / "victim")


def test_walking_very_deep_needs_few_descriptors(root: int) -> None:
    path = b"/".join([b"d"] * 1900)
    directory = beneath.walk(root, path, lambda _: None)
    assert directory.path == path
    os.close(directory.fd)
    assert beneath.remove(root, b"d")


def test_removing_follows_nothing(root: int, tmp_path: Path) -> None:
    (tmp_path / "victim/kept").touch()
    (tmp_path / "root/a/b/out").symlink_to(tmp_path / "victim")
    assert beneath.remove(root, b"a")
    assert not beneath.remove(root, b"outside")
    assert (tmp_path / "victim/kept").exists()
    assert "a" not in os.listdir(root)


def test_removing_needs_no_permission_bits(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/a/b").chmod(0)
    assert beneath.remove(root, b"a")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a/b", b"a/b"),
        (b"./a/b/", b"a/b"),
        (b".", b""),
        (b"./", b""),
        (b"/", b""),
        (b"", b""),
        (b"//a///b/./c/", b"a/b/c"),
        (b"a/../b", b"b"),
        (b"a/b/../../c", b"c"),
        (b".hidden/..x/...", b".hidden/..x/..."),
        (b"././a", b"a"),
    ],
)
def test_clean_names(name: bytes, path: bytes) -> None:
    assert beneath.clean(name) == path


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/../../b", b"/..", b"./../a", b"a" * 5000, b"a/" * 2500])
def test_names_that_are_refused(name: bytes) -> None:
    with pytest.raises(BadImage):
        beneath.clean(name)
