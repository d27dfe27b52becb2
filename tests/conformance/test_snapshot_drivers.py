"""What every storage driver does: one suite, run by overlay and by plain, with one id and with many.

The layers are built here and not by the extractor, each by a function that runs as the container's root
in the layer's directory. A container's root is then mounted and a function looks at it from inside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from fs import remove
from fs.snapshot import choose
from fs.snapshot.driver import Driver, Rootfs
from rootless.errors import HostUnsupported
from rootless.linux import mount
from rootless.paths import Paths
from tests.conformance import userns
from tests.conformance.userns import Ids

pytestmark = [pytest.mark.namespaces, pytest.mark.usefixtures("namespaces")]

Do = Callable[[], None]


class World:
    """One driver, one kind of namespace, and a directory for layers and containers."""

    def __init__(self, driver: Driver, ids: Ids, path: str) -> None:
        self.driver = driver
        self.ids = ids
        self.path = path
        self._layers = 0
        self._containers = 0

    def layer(self, build: Do | None = None, *, name: str = "") -> str:
        """Make a layer, filled by ``build`` as the container's root with the layer as current directory."""
        self._layers += 1
        path = f"{self.path}/{name or f'layer-{self._layers}'}"
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)
        if os.geteuid() == 0:
            os.chown(path, *self.ids.owner)
        if build:
            userns.in_child(lambda: self._build(path, build))
        return path

    def _build(self, path: str, build: Do) -> None:
        os.chdir(path)
        userns.enter(self.ids)
        userns.become_root()
        os.umask(0o022)
        build()

    def container(self, *lowers: str) -> Rootfs:
        """Make a container's root over ``lowers``, the topmost first."""
        self._containers += 1
        path = f"{self.path}/container-{self._containers}"
        os.mkdir(path, 0o700)
        rootfs = self.driver.plan(path, lowers)
        self.driver.make(rootfs, self.ids.owner if os.geteuid() == 0 else None)

        def fill() -> None:
            fds = self.driver.open_fill(rootfs)
            userns.enter(self.ids)
            userns.become_root()
            self.driver.fill(rootfs, fds)

        userns.in_child(fill)
        return rootfs

    def look(self, rootfs: Rootfs, do: Do, *, readonly: bool = False, early: bool = False) -> None:
        """Mount ``rootfs`` and call ``do`` as the container's root in its root directory."""

        def inside() -> None:
            # Opened before the mount namespace is made, they are opened again by path.
            fds = self.driver.open(rootfs) if early else ()
            userns.enter(self.ids)
            userns.own_mounts()
            fds = fds or self.driver.open(rootfs)
            userns.become_root()
            mount.mount("tmpfs", "/mnt", "tmpfs", 0)
            os.mkdir("/mnt/root")
            self.driver.mount(rootfs, fds, "/mnt/root", readonly)
            os.chdir("/mnt/root")
            os.umask(0o022)
            do()

        userns.in_child(inside)


@pytest.fixture(params=["one", "range"])
def ids(request: pytest.FixtureRequest) -> Ids:
    """Give the ids of the namespace: the caller's own, or many."""
    if request.param == "one":
        return userns.one_id()
    found = userns.id_range()
    if found is None:
        pytest.skip("needs subuid ranges")
    return found


@pytest.fixture(params=["overlay", "plain"])
def world(request: pytest.FixtureRequest, ids: Ids, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give a driver that works on the temporary directory's file system."""
    path = str(tmp_path_factory.mktemp("world"))
    if request.param == "overlay":
        os.mkdir(f"{path}/data", 0o700)
        choice = choose.choose(Paths(f"{path}/data", f"{path}/run", f"{path}/config"))
        if choice.driver != "overlay":
            pytest.skip(f"no overlayfs: {choice.reason}")
    try:
        yield World(choose.load(request.param), ids, path)
    finally:
        remove.tree(path, userns.entered(ids))


def write(path: str, text: str = "", mode: int = 0o644) -> None:
    """Make or change a file."""
    with open(path, "w", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(path, mode)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def whiteout(path: str) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def files(*paths: str) -> Do:
    """Return what makes files that hold their own path, with the directories they need."""

    def build() -> None:
        for path in paths:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            write(path, path)

    return build


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
    world.look(rootfs, lambda: _equal(os.listdir("d"), ["new"]))


def test_a_file_between_two_directories_hides_the_lower_one(world: World) -> None:
    """Directories merge only down to the first that is no directory."""
    rootfs = world.container(world.layer(files("d/new")), world.layer(files("d")), world.layer(files("d/old")))
    world.look(rootfs, lambda: _equal(os.listdir("d"), ["new"]))


def test_a_file_replaces_a_directory(world: World) -> None:
    """And the directory's files are gone."""
    rootfs = world.container(world.layer(files("d")), world.layer(files("d/old")))
    world.look(rootfs, lambda: _equal(read("d"), "d"))


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


def test_hard_links_within_a_layer_stay_links(world: World) -> None:
    """Both names are one inode, across directories, and so keep one content."""

    def build() -> None:
        os.makedirs("a/b")
        write("first", "one")
        os.link("first", "a/b/second")
        os.symlink("first", "s")
        os.link("s", "a/s", follow_symlinks=False)

    def check() -> None:
        assert os.stat("first").st_ino == os.stat("a/b/second").st_ino
        assert os.lstat("s").st_ino == os.lstat("a/s").st_ino

    world.look(world.container(world.layer(build)), check)


def test_modes_times_and_attributes_are_kept(world: World) -> None:
    """Set-user-ID and sticky bits, modification times to the nanosecond, extended attributes."""

    def build() -> None:
        write("su", "x", 0o4755)
        write("secret", "x", 0o000)
        os.mkdir("tmp")
        os.chmod("tmp", 0o1777)
        os.mkdir("locked")
        write("locked/in")
        os.symlink("nowhere", "link")
        os.mkfifo("fifo")
        os.setxattr("su", "user.colour", b"red\0blue")
        os.setxattr("tmp", "user.colour", b"green")
        os.utime("su", ns=(1, 1_500_000_000_123_456_789))
        os.utime("link", ns=(1, 1_400_000_000_000_000_001), follow_symlinks=False)
        os.utime("locked", ns=(1, 1_300_000_000_000_000_002))
        os.chmod("locked", 0o555)
        os.chmod(".", 0o751)

    def check() -> None:
        modes = {name: stat.S_IMODE(os.lstat(name).st_mode) for name in ("su", "secret", "tmp", "locked", ".")}
        assert modes == {"su": 0o4755, "secret": 0, "tmp": 0o1777, "locked": 0o555, ".": 0o751}
        assert os.stat("su").st_mtime_ns == 1_500_000_000_123_456_789
        assert os.lstat("link").st_mtime_ns == 1_400_000_000_000_000_001
        assert os.stat("locked").st_mtime_ns == 1_300_000_000_000_000_002
        assert os.readlink("link") == "nowhere"
        assert stat.S_ISFIFO(os.stat("fifo").st_mode)
        assert os.getxattr("su", "user.colour") == b"red\0blue"
        assert os.getxattr("tmp", "user.colour") == b"green"
        assert not [name for name in os.listxattr("tmp") if name.startswith("user.overlay.")]

    world.look(world.container(world.layer(build)), check)


@pytest.mark.parametrize("ids", ["range"], indirect=True)
def test_owners_are_kept(world: World) -> None:
    """As they are on disk, in files, directories and links (chown(2) clears set-user-ID: the order matters)."""

    def build() -> None:
        write("file", "x")
        os.chown("file", 33, 34)
        os.chmod("file", 0o6755)
        os.mkdir("dir")
        os.chown("dir", 1000, 50)
        os.chmod("dir", 0o2775)
        os.symlink("x", "link")
        os.lchown("link", 7, 8)

    def check() -> None:
        owners = {n: (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) for n in os.listdir(".") for s in [os.lstat(n)]}
        assert owners == {"file": (33, 34, 0o6755), "dir": (1000, 50, 0o2775), "link": (7, 8, 0o777)}
        os.chown("file", 5, 5)
        assert os.stat("file").st_uid == 5

    world.look(world.container(world.layer(build)), check)


def test_file_capabilities_are_kept(world: World) -> None:
    """security.capability, which the kernel ties to the namespace's root (capabilities(7), Namespaced)."""
    value = bytes.fromhex("0100000200040000000000000000000000000000")  # v2: cap_net_bind_service=ep

    def build() -> None:
        write("ping", "x", 0o755)
        os.setxattr("ping", "security.capability", value)

    world.look(world.container(world.layer(build)), lambda: _equal(os.getxattr("ping", "security.capability"), value))


def test_sparse_files_stay_sparse(world: World) -> None:
    """A file of a gigabyte that holds a few bytes takes a few blocks."""

    def build() -> None:
        with open("sparse", "wb") as file:
            file.write(b"head")
            file.seek(512 << 20)
            file.write(b"middle")
            file.truncate(1 << 30)
        with open("empty", "wb") as file:
            file.truncate(1 << 30)

    def check() -> None:
        for name in ("sparse", "empty"):
            status = os.stat(name)
            assert status.st_size == 1 << 30
            assert status.st_blocks * 512 < 1 << 20
        with open("sparse", "rb") as file:
            assert file.read(5) == b"head\0"
            file.seek(512 << 20)
            assert file.read(7) == b"middle\0"

    world.look(world.container(world.layer(build)), check)


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


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b", "a\\:b,upperdir=x", "ü\udcff", "a\nb"], ids=repr)
def test_a_layer_may_have_any_path(world: World, name: str) -> None:
    """Separators of mount options are no separators in names."""
    lower = world.layer(files("file"), name=name)
    world.look(world.container(world.layer(files("other")), lower), lambda: _equal(read("file"), "file"))


def test_names_that_are_not_utf8_are_kept(world: World) -> None:
    """A file name is bytes."""
    name = os.fsdecode(b"\xff\xfe\n")
    world.look(world.container(world.layer(files(f"d/{name}"))), lambda: _equal(os.listdir("d"), [name]))


def test_a_symlink_in_a_layer_is_not_followed(world: World) -> None:
    """A link of one layer and a directory of another do not meet: the host stays untouched."""
    outside = f"{world.path}/outside"
    os.mkdir(outside, 0o777)

    def top() -> None:
        os.symlink(outside, "etc")
        os.symlink("/", "up")

    def check() -> None:
        assert os.readlink("etc") == outside
        assert os.listdir("up-too") == ["x"]

    rootfs = world.container(world.layer(top), world.layer(files("etc/passwd", "up/file", "up-too/x")))
    world.look(rootfs, check)
    assert os.listdir(outside) == []


def test_descriptors_from_before_the_mount_namespace_serve_where_the_path_can_be_walked(world: World) -> None:
    """The kernel refuses to mount them themselves, so they are opened again and compared."""
    if os.geteuid() == 0 and world.ids.name == "range":
        pytest.skip("needs an ordinary user")
    rootfs = world.container(world.layer(files("file")))
    world.look(rootfs, lambda: _equal(read("file"), "file"), early=True)


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
    world.look(world.driver.plan(path, (lower,)), lambda: _equal(read("file"), "file"))


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


def _equal(seen: object, expected: object) -> None:
    assert seen == expected


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])
