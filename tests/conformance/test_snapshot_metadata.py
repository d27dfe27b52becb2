"""What every storage driver keeps of a layer's files: links, modes, owners, times, attributes, holes, names."""

from __future__ import annotations

import os
import stat

import pytest

from tests.conformance.world import World, equal, files, read, write

pytestmark = [pytest.mark.namespaces, pytest.mark.usefixtures("namespaces")]


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

    world.look(world.container(world.layer(build)), lambda: equal(os.getxattr("ping", "security.capability"), value))


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


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b", "a\\:b,upperdir=x", "ü\udcff", "a\nb"], ids=repr)
def test_a_layer_may_have_any_path(world: World, name: str) -> None:
    """Separators of mount options are no separators in names."""
    lower = world.layer(files("file"), name=name)
    world.look(world.container(world.layer(files("other")), lower), lambda: equal(read("file"), "file"))


def test_names_that_are_not_utf8_are_kept(world: World) -> None:
    """A file name is bytes."""
    name = os.fsdecode(b"\xff\xfe\n")
    world.look(world.container(world.layer(files(f"d/{name}"))), lambda: equal(os.listdir("d"), [name]))


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
