"""What every storage driver does: one suite, run by overlay and by plain, with one id and with many.

The layers are built here and not by the extractor, each by a function that runs as the container's root
in the layer's directory. A container's root is then mounted and a function looks at it from inside.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import pytest

from fs.snapshot import choose
from rootless.errors import HostUnsupported
from tests.conformance import userns
from tests.conformance.world import World, equal, files, read, whiteout, write

pytestmark = [pytest.mark.namespaces, pytest.mark.usefixtures("namespaces")]


def test_files_of_all_layers_are_there(world: World) -> None:
    """The topmost layer wins; directories are merged."""

    def top() -> None:
        os.makedirs("etc")
        write("etc/name", "top")

    def check() -> None:
        assert sorted(os.listdir("etc")) == ["host", "name"]
        assert read("etc/name") == "top"
        assert read("usr/bin/sh") == "usr/bin/sh"

    rootfs = world.container(world.layer(top), world.layer(files("etc/name", "etc/host", "usr/bin/sh")))
    world.look(rootfs, check)


def test_whiteouts_hide_what_is_below(world: World) -> None:
    """A device 0/0 hides a file or a whole tree and is not seen itself (overlayfs.rst, whiteouts)."""

    def top() -> None:
        os.mkdir("a")
        whiteout("a/gone")
        whiteout("tree")

    def check() -> None:
        assert os.listdir("a") == ["kept"]
        assert os.listdir(".") == ["a"]

    rootfs = world.container(world.layer(top), world.layer(files("a/gone", "a/kept", "tree/of/files")))
    world.look(rootfs, check)


def test_a_directory_in_place_of_a_whiteout_starts_empty(world: World) -> None:
    """What the middle layer removed does not come back when the top layer makes a directory there."""

    def middle() -> None:
        whiteout("d")

    rootfs = world.container(world.layer(files("d/new")), world.layer(middle), world.layer(files("d/old")))
    world.look(rootfs, lambda: equal(os.listdir("d"), ["new"]))


def test_a_file_between_two_directories_hides_the_lower_one(world: World) -> None:
    """Directories merge only down to the first that is no directory."""
    rootfs = world.container(world.layer(files("d/new")), world.layer(files("d")), world.layer(files("d/old")))
    world.look(rootfs, lambda: equal(os.listdir("d"), ["new"]))


def test_a_file_replaces_a_directory(world: World) -> None:
    """And the directory's files are gone."""
    rootfs = world.container(world.layer(files("d")), world.layer(files("d/old")))
    world.look(rootfs, lambda: equal(read("d"), "d"))


def test_opaque_directories_hide_what_is_below(world: World) -> None:
    """user.overlay.opaque=y; in the layers between too (overlayfs.rst, Opaque directories)."""

    def middle() -> None:
        os.makedirs("d/inner")
        write("d/middle")
        os.setxattr("d", "user.overlay.opaque", b"y")

    def check() -> None:
        assert sorted(os.listdir("d")) == ["inner", "middle", "top"]
        assert os.listdir("d/inner") == []

    rootfs = world.container(
        world.layer(files("d/top")), world.layer(middle), world.layer(files("d/bottom", "d/inner/bottom"))
    )
    world.look(rootfs, check)


def test_whiteouts_as_attributes_hide_too(world: World) -> None:
    """An empty file with user.overlay.whiteout, in a directory with opaque=x (Linux 6.7)."""
    if world.driver.name == "overlay" and _kernel() < (6, 8):
        pytest.skip(f"only on Linux 6.8 and later, this is {os.uname().release}")

    def top() -> None:
        os.mkdir("a")
        os.setxattr(".", "user.overlay.opaque", b"x")
        os.setxattr("a", "user.overlay.opaque", b"x")
        for name in ("a/gone", "gone"):
            write(name)
            os.setxattr(name, "user.overlay.whiteout", b"")

    def check() -> None:
        assert sorted(os.listdir("a")) == ["kept"]
        assert sorted(os.listdir(".")) == ["a", "stays"]

    rootfs = world.container(world.layer(top), world.layer(files("a/gone", "a/kept", "gone", "stays")))
    world.look(rootfs, check)


def test_writes_do_not_reach_the_layers(world: World) -> None:
    """New, changed, removed and renamed: the layer stays what it was, and another container sees it so."""
    layer = world.layer(files("etc/a", "etc/b", "etc/c", "etc/d/e"))

    def change() -> None:
        with open("etc/a", "r+") as file:
            file.write("XXX")  # in place: a hard link to the layer would change with it
        with open("etc/b", "a") as file:
            file.write("more")
        os.unlink("etc/c")
        os.unlink("etc/d/e")
        os.rmdir("etc/d")
        write("etc/new")
        os.chmod("etc", 0o700)
        os.utime("etc/a", (0, 0))

    def check() -> None:
        assert sorted(os.listdir("etc")) == ["a", "b", "c", "d"]
        assert [read(f"etc/{name}") for name in ("a", "b", "c", "d/e")] == ["etc/a", "etc/b", "etc/c", "etc/d/e"]
        assert os.stat("etc").st_mode & 0o777 == 0o755
        assert os.stat("etc/a").st_mtime != 0

    world.look(world.container(layer), change)
    world.look(world.container(layer), check)


def test_changes_are_there_when_it_is_mounted_again(world: World) -> None:
    """A stopped container that is started again has its files, removals included."""

    def change() -> None:
        write("file", "changed")
        os.unlink("gone")
        os.unlink("d/old")
        os.rmdir("d")
        os.mkdir("d")
        write("d/new")

    def check() -> None:
        assert read("file") == "changed"
        assert sorted(os.listdir(".")) == ["d", "file"]
        assert os.listdir("d") == ["new"]

    rootfs = world.container(world.layer(files("file", "gone", "d/old")))
    world.look(rootfs, change)
    world.look(rootfs, check)


def test_a_directory_of_a_layer_can_be_moved_or_says_exdev(world: World) -> None:
    """What overlayfs does without redirect_dir; mv(1) then copies."""

    def check() -> None:
        try:
            os.rename("a", "b")
        except OSError as e:
            assert e.errno == errno.EXDEV
            assert os.listdir("a") == ["x"]
        else:
            assert os.listdir("b") == ["x"]
        write("new")
        os.mkdir("own")
        os.rename("own", "moved")
        os.rename("new", "moved/new")

    world.look(world.container(world.layer(files("a/x"))), check)


def test_a_readonly_root_refuses_writes(world: World) -> None:
    """EROFS for all, as for Docker's --read-only; a later writable mount takes them."""

    def refused() -> None:
        for attempt in (
            lambda: write("new"),
            lambda: write("file", "x"),
            lambda: os.unlink("file"),
            lambda: os.chmod("file", 0o600),
            lambda: os.mkdir("d"),
        ):
            try:
                attempt()
            except OSError as e:
                assert e.errno == errno.EROFS
            else:
                raise AssertionError("a read-only root was written to")
        assert read("file") == "file"

    rootfs = world.container(world.layer(files("file")))
    world.look(rootfs, refused, readonly=True)
    world.look(rootfs, lambda: write("file", "x"))


def test_as_many_layers_as_images_have(world: World) -> None:
    """Docker makes at most 127."""
    _stack(world, 120)


@pytest.mark.parametrize("ids", ["one"], indirect=True)
def test_as_many_layers_as_overlayfs_takes(world: World) -> None:
    """The options of mount(2) are one page; the kernel's limit is 500 (OVL_MAX_STACK)."""
    _stack(world, 500)


def _stack(world: World, count: int) -> None:
    layers = [world.layer() for _ in range(count)]
    # By the host: a process for each layer would take long.
    for number, layer in enumerate(layers):
        for name in (str(number), "same"):
            write(f"{layer}/{name}", str(number))
            if os.geteuid() == 0:
                os.chown(f"{layer}/{name}", *world.ids.owner)

    def check() -> None:
        assert len(os.listdir(".")) == count + 1
        assert read("same") == str(count - 1)
        assert read("0") == "0"
        write("0", "changed")

    world.look(world.container(*reversed(layers)), check)


def test_an_image_without_layers_is_an_empty_root(world: World) -> None:
    """FROM scratch with metadata only; it can be written to."""

    def check() -> None:
        assert os.listdir(".") == []
        write("file")

    world.look(world.container(), check)


def test_descriptors_from_before_the_mount_namespace_serve_where_the_path_can_be_walked(world: World) -> None:
    """The kernel refuses to mount them themselves, so they are opened again and compared."""
    if os.geteuid() == 0 and world.ids.name == "range":
        pytest.skip("needs an ordinary user")
    rootfs = world.container(world.layer(files("file")))
    world.look(rootfs, lambda: equal(read("file"), "file"), early=True)


def test_preparing_in_the_namespace_makes_the_same(world: World) -> None:
    """``prepare`` is plan, make and fill in one."""
    if os.geteuid() == 0 and world.ids.name == "range":
        pytest.skip("needs an ordinary user")
    lower = world.layer(files("file"))
    path = f"{world.path}/prepared"
    os.mkdir(path, 0o700)

    def prepare() -> None:
        userns.enter(world.ids)
        userns.become_root()
        world.driver.prepare(path, (lower,))

    userns.in_child(prepare)
    world.look(world.driver.plan(path, (lower,)), lambda: equal(read("file"), "file"))


def test_a_file_that_is_open_keeps_its_content_when_it_is_removed(world: World) -> None:
    """The oldest of Unix habits."""

    def check() -> None:
        with open("file") as file:
            os.unlink("file")
            assert file.read() == "file"
        with suppress(FileNotFoundError):
            os.stat("file")
            raise AssertionError("it is still there")

    world.look(world.container(world.layer(files("file"))), check)


def test_more_layers_than_overlayfs_takes_are_refused_with_a_way_out() -> None:
    """501 layers: the copy can."""
    with pytest.raises(HostUnsupported) as caught:
        choose.load("overlay").plan("/nowhere", ("/layer",) * 501)
    assert "plain" in str(caught.value.hint)
    assert choose.load("plain").plan("/nowhere", ("/layer",) * 501).root == "/nowhere/rootfs"


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])
