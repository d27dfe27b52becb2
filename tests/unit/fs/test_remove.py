"""Deleting trees: all of the tree, nothing but the tree."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fs import remove
from rootless.linux import mount
from tests.conformance import userns


def test_a_tree_is_deleted(tmp_path: Path) -> None:
    """Files of all kinds, and names that are not UTF-8."""
    root = tmp_path / "root"
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/file").touch()
    (root / "a/link").symlink_to("/etc")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    os.mkdir(os.fsencode(root) + b"/\xff\n")
    remove.tree(str(root))
    assert os.listdir(tmp_path) == []


def test_a_file_or_link_is_deleted_and_not_what_it_points_to(tmp_path: Path) -> None:
    """Whatever the path names."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "file").touch()
    remove.tree(f"{tmp_path}/link")
    remove.tree(f"{tmp_path}/file")
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_nothing_there_is_no_error(tmp_path: Path) -> None:
    """Two processes may delete the same."""
    remove.tree(f"{tmp_path}/none")
    remove.tree(f"{tmp_path}/none/at/all")


def test_directories_without_permissions_are_deleted(tmp_path: Path) -> None:
    """overlayfs leaves work/work with mode 000; images have directories of mode 0555."""
    inner = tmp_path / "root/work/work"
    inner.mkdir(parents=True)
    (inner / "d").mkdir()
    (inner / "d/file").touch()
    for path, mode in ((inner / "d", 0o555), (inner, 0), (tmp_path / "root", 0o100)):
        os.chmod(path, mode)
    remove.tree(f"{tmp_path}/root")
    assert os.listdir(tmp_path) == []


def test_a_tree_deeper_than_descriptors_and_stack_reach_is_deleted(tmp_path: Path) -> None:
    """3,000 levels, each with a file; no path can name the deepest."""
    os.mkdir(tmp_path / "root")
    fd = os.open(tmp_path / "root", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 20, dir_fd=fd)
        os.close(os.open("file", os.O_CREAT, 0o600, dir_fd=fd))
        inner = os.open("d" * 20, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    remove.tree(f"{tmp_path}/root")
    assert os.listdir(tmp_path) == []


def test_the_contents_go_and_the_directory_stays(tmp_path: Path) -> None:
    """By descriptor, also one that only names (O_PATH)."""
    (tmp_path / "a/b").mkdir(parents=True)
    fd = os.open(tmp_path, os.O_PATH)
    try:
        remove.contents(fd)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == []


def test_a_symlink_that_is_swapped_in_is_not_followed(tmp_path: Path) -> None:
    """While somebody exchanges a directory and a link to what must stay, as fast as it goes."""
    keep = tmp_path / "keep"
    (keep / "d").mkdir(parents=True)
    (keep / "d/file").touch()
    stop = threading.Event()

    def swap() -> None:
        for number in range(1000):
            if stop.is_set():
                return
            try:
                os.symlink(keep, tmp_path / "root/link")
                os.rename(tmp_path / "root/victim", tmp_path / f"root/old{number}")
                os.rename(tmp_path / "root/link", tmp_path / "root/victim")
            except OSError:
                pass

    for _ in range(50):
        for name in ("victim/d", "other/d"):
            (tmp_path / "root" / name).mkdir(parents=True, exist_ok=True)
        stop.clear()
        attacker = threading.Thread(target=swap)
        attacker.start()
        try:
            remove.tree(f"{tmp_path}/root")
        except OSError:
            pass  # the attacker may have made something new
        finally:
            stop.set()
            attacker.join()
        assert (keep / "d/file").exists()
        remove.tree(f"{tmp_path}/root")


@pytest.mark.namespaces
@pytest.mark.usefixtures("namespaces")
def test_what_is_mounted_inside_is_not_entered(tmp_path: Path) -> None:
    """A bind mount is the same file system; its files belong to somebody who still needs them."""
    for name in ("keep/d", "root/mounted", "root/z"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "keep/d/file").touch()

    def inside() -> None:
        userns.enter(userns.one_id())
        userns.own_mounts()
        mount.mount(f"{tmp_path}/keep", f"{tmp_path}/root/mounted", None, mount.MS_BIND)
        try:
            remove.tree(f"{tmp_path}/root")
        except OSError:
            pass
        else:
            raise AssertionError("a directory with a mount in it was deleted")

    userns.in_child(inside)
    assert (tmp_path / "keep/d/file").exists()
    assert os.listdir(tmp_path / "root") == ["mounted"]


@pytest.fixture
def foreign(tmp_path: Path, namespaces: None) -> Iterator[tuple[str, userns.Ids]]:
    """Give a tree with files and directories of other ids, made in a namespace."""
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user with subuid ranges")
    ids = userns.id_range()
    if ids is None:
        pytest.skip("needs subuid ranges")
    root = f"{tmp_path}/root"
    os.makedirs(f"{root}/fs")

    def build() -> None:
        userns.enter(ids)
        userns.become_root()
        for number in range(600):
            path = f"{root}/fs/d{number}"
            os.makedirs(f"{path}/inner")
            os.close(os.open(f"{path}/inner/file", os.O_CREAT))
            for name in (f"{path}/inner/file", f"{path}/inner", path):
                os.chown(name, 33, 33)
            os.chmod(path, (0o755, 0o700, 0o000)[number % 3])

    userns.in_child(build)
    yield root, ids
    remove.tree(root, userns.entered(ids))


def test_files_of_other_ids_need_the_namespace(foreign: tuple[str, userns.Ids]) -> None:
    """Without it the reason is said, and what could be deleted is."""
    root, _ = foreign
    os.makedirs(f"{root}/mine/d")
    with pytest.raises(PermissionError):
        remove.tree(root)
    assert not os.path.exists(f"{root}/mine")


def test_files_of_other_ids_are_deleted_by_a_worker_in_the_namespace(foreign: tuple[str, userns.Ids]) -> None:
    """In as many rounds as the descriptors need; the directories themselves are ours."""
    root, ids = foreign
    remove.tree(root, userns.entered(ids))
    assert not os.path.exists(root)


def test_a_worker_that_cannot_enter_leaves_the_first_reason(foreign: tuple[str, userns.Ids]) -> None:
    """The ids are gone from /etc/subuid, say."""
    root, _ = foreign

    def fail() -> None:
        os._exit(3)

    with pytest.raises(PermissionError):
        remove.tree(root, fail)


@pytest.mark.namespaces
@pytest.mark.usefixtures("namespaces")
def test_a_used_overlay_is_deleted(tmp_path: Path) -> None:
    """Whiteouts in upper, and work/work."""
    names = ("lower", "upper", "work", "merged")
    for name in names:
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root/lower/file").touch()

    def use() -> None:
        userns.enter(userns.one_id())
        userns.own_mounts()
        os.chdir(tmp_path / "root")
        try:
            mount.mount("overlay", "merged", "overlay", 0, "userxattr,lowerdir=lower,upperdir=upper,workdir=work")
        except OSError:
            os.mkdir("work/work", 0)
            return
        os.unlink("merged/file")

    userns.in_child(use)
    assert stat.S_IMODE(os.stat(tmp_path / "root/work/work").st_mode) == 0
    remove.tree(f"{tmp_path}/root")
    assert os.listdir(tmp_path) == []
