"""What an archive says is what is on disk, for every kind of entry and every way to run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fs.extract import Extracted
from idmap.owners import OwnerRecord
from idmap.ranges import IdMap, IdRange, UserMap
from rootless.errors import BadImage
from tests.support import tarwriter as tar
from tests.support.unpacking import in_namespace, look, natural, one_id, unpack
from tests.support.users import Me

MTIME = 1_500_000_000


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    return "user.overlay.whiteout" in os.listxattr(path)


def is_opaque(path: Path) -> bool:
    return "user.overlay.opaque" in os.listxattr(path) and os.getxattr(path, "user.overlay.opaque") == b"y"


def is_empty_of_fds(before: list[str]) -> bool:
    return os.listdir("/proc/self/fd") == before


def test_the_usual_tree(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    mask = os.umask(0o077)
    try:
        result = unpack(
            tar.directory(b"./", mode=0o711, mtime=MTIME)
            + tar.directory(b"./etc/", mode=0o750, mtime=MTIME + 1)
            + tar.file(b"./etc/passwd", b"root:x:0:0", mode=0o666, mtime=MTIME + 2)
            + tar.symlink(b"./etc/link", b"/nowhere", mtime=MTIME + 3)
            + tar.hard_link(b"./etc/other", b"./etc/passwd")
            + tar.header(b"./fifo", b"6", mode=0o622, mtime=MTIME + 4)
            + tar.END,
            str(tmp_path / "root"),
        )
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)
    seen = look(str(tmp_path / "root"))
    assert list(seen) == ["", "etc", "etc/link", "etc/other", "etc/passwd", "fifo"]
    assert (seen[""].mode, seen[""].mtime) == (0o711, MTIME * 10**9)
    assert (seen["etc"].mode, seen["etc"].mtime) == (0o750, (MTIME + 1) * 10**9)
    assert (seen["etc/passwd"].mode, seen["etc/passwd"].content) == (0o666, b"root:x:0:0")
    assert seen["etc/passwd"].group == "etc/other"
    assert (seen["etc/link"].content, seen["etc/link"].mtime) == (b"/nowhere", (MTIME + 3) * 10**9)
    assert (seen["fifo"].type, seen["fifo"].mode) == ("fifo", 0o622)
    assert result == Extracted(6, 10, (), (), ())
    assert is_empty_of_fds(before)


def test_implicit_parents_are_made_and_reported(tmp_path: Path) -> None:
    result = unpack(
        tar.file(b"a/b/c/file") + tar.directory(b"a/b", mode=0o700, mtime=MTIME) + tar.file(b"x/y") + tar.END,
        str(tmp_path),
    )
    assert sorted(result.implicit) == ["a", "a/b/c", "x"]
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700
    assert (tmp_path / "a/b").stat().st_mtime == MTIME
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755


def test_special_bits_and_locked_directories(tmp_path: Path) -> None:
    unpack(
        tar.directory(b"locked", mode=0)
        + tar.directory(b"locked/in", mode=0o500)
        + tar.directory(b"tmp", mode=0o1777)
        + tar.directory(b"shared", mode=0o2775)
        + tar.directory(b"shared/sub", mode=0o755)
        + tar.file(b"locked/in/file", b"x", mode=0o000)
        + tar.file(b"shared/su", b"x", mode=0o4755)
        + tar.file(b"shared/sg", b"x", mode=0o2755)
        + tar.header(b"shared/fifo", b"6", mode=0o1600)
        + tar.END,
        str(tmp_path / "root"),
    )
    root = tmp_path / "root"
    assert stat.S_IMODE((root / "locked").stat().st_mode) == 0
    (root / "locked").chmod(0o700)
    assert stat.S_IMODE((root / "locked/in").stat().st_mode) == 0o500
    assert stat.S_IMODE((root / "locked/in/file").stat().st_mode) == 0
    (root / "locked/in").chmod(0o700)
    modes = {path: seen.mode for path, seen in look(str(root / "shared")).items()}
    assert modes == {"": 0o2775, "sub": 0o755, "su": 0o4755, "sg": 0o2755, "fifo": 0o1600}
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777


def test_nothing_is_inherited_from_a_set_group_id_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o2755)
    unpack(tar.directory(b"d") + tar.file(b"d/f") + tar.END, str(tmp_path))
    assert {seen.mode for seen in look(str(tmp_path)).values()} == {0o755, 0o644}
    assert {seen.gid for seen in look(str(tmp_path)).values()} == {os.getegid()}


@pytest.mark.parametrize("last", ["file", "directory", "symlink", "fifo", "hard link"])
@pytest.mark.parametrize("first", ["file", "directory", "symlink", "symlink to a directory", "fifo"])
def test_later_entries_replace_earlier_ones(tmp_path: Path, first: str, last: str) -> None:
    entries = {
        "file": tar.file(b"d/x", b"file"),
        "directory": tar.directory(b"d/x"),
        "symlink": tar.symlink(b"d/x", b"nowhere"),
        "symlink to a directory": tar.symlink(b"d/x", b"../kept"),
        "fifo": tar.header(b"d/x", b"6"),
        "hard link": tar.hard_link(b"d/x", b"kept/it"),
    }
    below = tar.file(b"d/x/below", b"old") if first.endswith("directory") else b""
    unpack(
        tar.directory(b"d", mtime=MTIME)
        + tar.directory(b"kept")
        + tar.file(b"kept/it", b"kept")
        + entries[first]
        + below
        + entries[last]
        + tar.END,
        str(tmp_path),
    )
    seen = look(str(tmp_path))
    assert seen["d/x"].type == ("file" if last == "hard link" else last)
    assert ("d/x/below" in seen) == (first == last == "directory")
    assert ("kept/below" in seen) == (first == "symlink to a directory")
    assert seen["kept/it"].content == b"kept"
    assert seen["d"].mtime == MTIME * 10**9


def test_writing_over_a_hard_link_leaves_its_twin(tmp_path: Path) -> None:
    unpack(tar.file(b"a", b"old") + tar.hard_link(b"b", b"a") + tar.file(b"b", b"new") + tar.END, str(tmp_path))
    assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "b").read_bytes() == b"new"


def test_a_hard_link_to_itself_changes_nothing(tmp_path: Path) -> None:
    unpack(tar.file(b"a", b"x") + tar.hard_link(b"./a", b"a") + tar.hard_link(b"a", b"/a") + tar.END, str(tmp_path))
    assert (tmp_path / "a").read_bytes() == b"x"


def test_hard_links_to_symbolic_links_are_links_to_them(tmp_path: Path) -> None:
    unpack(tar.symlink(b"a", b"/etc/passwd") + tar.hard_link(b"b", b"a") + tar.END, str(tmp_path))
    assert os.readlink(tmp_path / "b") == "/etc/passwd"
    assert os.path.samestat((tmp_path / "a").lstat(), (tmp_path / "b").lstat())


def test_entries_go_through_the_links_of_their_own_layer(tmp_path: Path) -> None:
    result = unpack(
        tar.symlink(b"lib", b"usr/lib")
        + tar.file(b"lib/a", b"a", uid=77)
        + tar.directory(b"usr")
        + tar.symlink(b"abs", b"/usr/lib")
        + tar.file(b"abs/b", b"b")
        + tar.directory(b"lib/sub", mode=0o700, mtime=MTIME)
        + tar.END,
        str(tmp_path),
        one_id(os.getuid(), os.getgid()),
    )
    seen = look(str(tmp_path))
    assert seen["usr/lib/a"].content == b"a" and seen["usr/lib/b"].content == b"b"
    assert (seen["usr/lib/sub"].mode, seen["usr/lib/sub"].mtime) == (0o700, MTIME * 10**9)
    assert result.implicit == ("usr/lib",)
    assert result.records == (OwnerRecord("usr/lib/a", 77, 0, 0o100644, ""),)


def test_more_directories_than_are_kept_open(tmp_path: Path) -> None:
    names = [b"d%d/e%d" % (i % 700, i) for i in range(1400)]
    unpack(b"".join(tar.file(name, name) for name in names) + tar.END, str(tmp_path))
    assert all((tmp_path / os.fsdecode(name)).read_bytes() == name for name in names)


def test_times_are_exact_and_in_range(tmp_path: Path) -> None:
    unpack(
        tar.pax({b"mtime": b"1500000000.987654321"})
        + tar.file(b"fine")
        + tar.pax({b"mtime": b"-5.5"})
        + tar.file(b"early")
        + tar.header(b"late", mtime=tar.base256(1 << 80, 12))
        + tar.header(b"negative", mtime=tar.base256(-(1 << 80), 12))
        + tar.END,
        str(tmp_path),
    )
    assert (tmp_path / "fine").stat().st_mtime_ns == 1500000000987654321
    assert (tmp_path / "early").stat().st_mtime_ns == -5_500_000_000


def test_holes_take_no_disk(tmp_path: Path) -> None:
    data = os.urandom(4096)
    entry = tar.old_sparse(b"s", 1 << 30, [(0, 4096), (1 << 29, 4096)], data + data)
    result = unpack(entry + tar.file(b"next", b"n") + tar.END, str(tmp_path))
    status = (tmp_path / "s").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 <= 1 << 20
    with open(tmp_path / "s", "rb") as file:
        assert file.read(4096) == data
        file.seek((1 << 29) - 1)
        assert file.read(4098) == b"\0" + data + b"\0"
    assert (tmp_path / "next").read_bytes() == b"n"
    assert result.size == 8193


def test_xattrs(tmp_path: Path) -> None:
    def with_xattr(entry: bytes, *names: bytes) -> bytes:
        return tar.pax({b"SCHILY.xattr." + name: b"v\0\n=" for name in names}) + entry

    result = unpack(
        with_xattr(tar.file(b"f", b"data", mode=0o444, mtime=MTIME), b"user.one", b"user.two")
        + with_xattr(tar.directory(b"d", mode=0o555, mtime=MTIME), b"user.dir")
        + with_xattr(tar.symlink(b"l", b"f"), b"user.link")
        + with_xattr(tar.header(b"p", b"6"), b"user.fifo")
        + with_xattr(tar.file(b"g"), b"user.overlay.whiteout", b"trusted.overlay.opaque", b"user.fine")
        + with_xattr(tar.file(b"h"), b"user.overlay.whiteout", b"unknown.name")
        + tar.END,
        str(tmp_path),
    )
    seen = look(str(tmp_path))
    assert seen["f"].xattrs == (("user.one", b"v\0\n="), ("user.two", b"v\0\n="))
    assert (seen["f"].mode, seen["f"].content, seen["f"].mtime) == (0o444, b"data", MTIME * 10**9)
    assert (seen["d"].xattrs, seen["d"].mode, seen["d"].mtime) == ((("user.dir", b"v\0\n="),), 0o555, MTIME * 10**9)
    assert seen["g"].xattrs == (("user.fine", b"v\0\n="),)
    assert seen["h"].xattrs == ()
    assert "user.overlay.whiteout: reserved (2 files, the first 'g')" in result.skipped
    assert "unknown.name: Operation not supported ('h')" in result.skipped
    assert len(result.skipped) == 5


def test_whiteouts_hide_what_is_below(tmp_path: Path) -> None:
    result = unpack(
        tar.directory(b"d")
        + tar.file(b"d/.wh.gone")
        + tar.file(b"d/kept", b"k")
        + tar.file(b"implied/.wh.x")
        + tar.directory(b"o")
        + tar.file(b"o/before")
        + tar.file(b"o/.wh..wh..opq")
        + tar.file(b"o/after")
        + tar.directory(b"o", mode=0o711)
        + tar.file(b".wh..wh.aufs")
        + tar.directory(b".wh..wh.plnk")
        + tar.file(b".wh..wh.plnk/12.34")
        + tar.END,
        str(tmp_path),
    )
    assert is_whiteout(tmp_path / "d/gone") and not is_opaque(tmp_path / "d")
    assert is_whiteout(tmp_path / "implied/x")
    assert is_opaque(tmp_path / "o")
    assert sorted(os.listdir(tmp_path / "o")) == ["after", "before"]
    assert stat.S_IMODE((tmp_path / "o").stat().st_mode) == 0o711
    assert sorted(os.listdir(tmp_path)) == ["d", "implied", "o"]
    assert result.implicit == ("implied",)


@pytest.mark.parametrize("order", ["whiteout first", "whiteout last"])
def test_a_whiteout_and_a_new_thing_of_the_same_name(tmp_path: Path, order: str) -> None:
    """The new file stays, and a new directory is not merged with what the whiteout hides."""
    hide = tar.file(b".wh.f") + tar.file(b".wh.d") + tar.file(b".wh.i")
    bring = tar.file(b"f", b"new") + tar.directory(b"d", mode=0o700) + tar.file(b"d/x") + tar.file(b"i/j/k", b"new")
    result = unpack((hide + bring if order == "whiteout first" else bring + hide) + tar.END, str(tmp_path))
    assert (tmp_path / "f").read_bytes() == b"new"
    assert is_opaque(tmp_path / "d") and is_opaque(tmp_path / "i")
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert (tmp_path / "d/x").exists() and (tmp_path / "i/j/k").read_bytes() == b"new"
    assert sorted(result.implicit) == ["i", "i/j"]


def test_a_hard_link_to_what_is_hidden_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="not in this layer"):
        unpack(tar.file(b".wh.f") + tar.hard_link(b"g", b"f") + tar.END, str(tmp_path))


def test_what_was_said_of_a_replaced_directory_is_forgotten(tmp_path: Path) -> None:
    result = unpack(
        tar.directory(b"d", uid=5, mtime=MTIME)
        + tar.file(b"d/a", uid=6)
        + tar.file(b"d/imp/b", uid=7)
        + tar.directory(b"d/sub", mtime=MTIME)
        + tar.file(b"d", b"now a file", uid=8)
        + tar.directory(b"e/sub", mode=0o700)
        + tar.symlink(b"d", b"e")
        + tar.file(b"d/sub/f", b"through the link")
        + tar.END,
        str(tmp_path),
        one_id(os.getuid(), os.getgid()),
    )
    assert result.records == ()
    assert result.implicit == ("e",)
    assert (tmp_path / "e/sub/f").read_bytes() == b"through the link"
    assert stat.S_IMODE((tmp_path / "e/sub").stat().st_mode) == 0o700
    assert (tmp_path / "e/sub").stat().st_mtime != MTIME


def test_owners_outside_of_the_map_are_recorded(tmp_path: Path) -> None:
    result = unpack(
        tar.directory(b"./", uid=9)
        + tar.file(b"a", b"x", uid=1000, gid=0, mode=0o4755)
        + tar.hard_link(b"b", b"a")
        + tar.symlink(b"l", b"a", uid=3, gid=4)
        + tar.file(b"mine")
        + tar.header(b"dev/null", b"3", rdev=(1, 3), mode=0o666)
        + tar.hard_link(b"dev/alias", b"dev/null")
        + tar.header(b"dev/sda", b"4", rdev=(8, 0), mode=0o660, gid=6)
        + tar.header(b"dev/whiteout", b"3", rdev=(0, 0))
        + tar.file(b"c", uid=1)
        + tar.file(b"c", uid=0)
        + tar.header(b"e", b"3", rdev=(1, 5))
        + tar.file(b"e")
        + tar.END,
        str(tmp_path),
        one_id(os.getuid(), os.getgid()),
    )
    records = {record.path: record for record in result.records}
    assert records[""] == OwnerRecord("", 9, 0, 0o040755, "")
    assert records["a"] == OwnerRecord("a", 1000, 0, 0o104755, "")
    assert records["b"] == records["a"]._replace(path="b")
    assert records["l"] == OwnerRecord("l", 3, 4, 0o120777, "")
    assert records["dev/whiteout"] == OwnerRecord("dev/whiteout", 0, 0, 0o020644, "c:0:0")
    assert set(records) - {"dev/null", "dev/alias", "dev/sda"} == {"", "a", "b", "l", "dev/whiteout"}
    assert not (tmp_path / "dev/whiteout").exists()
    assert {seen.uid for seen in look(str(tmp_path)).values() if seen.type != "device"} == {os.getuid()}
    if os.getuid():
        assert records["dev/null"] == OwnerRecord("dev/null", 0, 0, 0o020666, "c:1:3")
        assert records["dev/alias"] == records["dev/null"]._replace(path="dev/alias")
        assert records["dev/sda"] == OwnerRecord("dev/sda", 0, 6, 0o060660, "b:8:0")


def test_a_map_without_root_stands_in_its_first_id(tmp_path: Path) -> None:
    mine = UserMap(IdMap([IdRange(1000, os.getuid(), 1)]), IdMap([IdRange(1000, os.getgid(), 1)]))
    result = unpack(tar.file(b"a") + tar.file(b"b", uid=1000, gid=1000) + tar.END, str(tmp_path), mine)
    assert [record.path for record in result.records] == ["a"]
    assert (tmp_path / "a").stat().st_uid == os.getuid()


LAYER = (
    tar.directory(b"./", mtime=MTIME)
    + tar.directory(b"home", mode=0o2770, uid=1000, gid=1000, mtime=MTIME)
    + tar.file(b"home/file", b"x", mode=0o6711, uid=1000, gid=100, mtime=MTIME)
    + tar.symlink(b"home/link", b"file", uid=33, gid=33, mtime=MTIME)
    + tar.pax({b"SCHILY.xattr.security.capability": bytes.fromhex("0100000200200000000000000000000000000000")})
    + tar.file(b"ping", b"elf", mode=0o755)
    + tar.header(b"null", b"3", rdev=(1, 3), mode=0o666)
    + tar.header(b"fifo", b"6", mode=0o600, uid=5, gid=60)
    + tar.file(b"nobody", uid=4_000_000, gid=65534)
    + tar.file(b".wh.gone")
    + tar.file(b"opaque/.wh..wh..opq")
    + tar.END
)


def test_root_of_a_range_gets_every_owner(tmp_path: Path, me: Me, namespaces: None) -> None:
    """In a user namespace ids are the container's, capabilities become the namespace's, devices are recorded."""
    if not me.is_root and not me.has_ranges:
        pytest.skip("needs subuid ranges")
    first_uid, first_gid = (100_000, 100_000) if me.is_root else (me.subuids[0].start, me.subgids[0].start)
    if me.is_root:
        maps = UserMap(IdMap([IdRange(0, first_uid, 65536)]), IdMap([IdRange(0, first_gid, 65536)]))
    else:
        maps = UserMap(
            IdMap([IdRange(0, me.uid, 1), IdRange(1, first_uid, 65535)]),
            IdMap([IdRange(0, os.getgid(), 1), IdRange(1, first_gid, 65535)]),
        )
    root = tmp_path / "root"
    root.mkdir()
    if me.is_root:
        os.chown(root, first_uid, first_gid)
    fd = os.open(root, os.O_RDONLY)
    every = IdMap([IdRange(0, 0, 65536)])

    def work() -> tuple[Extracted, dict[str, tuple[int, ...]], bytes]:
        result = unpack(LAYER, f"/proc/self/fd/{fd}", UserMap(every, every))
        os.fchdir(fd)
        seen = {path: (found.uid, found.gid, found.mode) for path, found in look(".").items()}
        capability = os.getxattr("ping", "security.capability")
        for path in sorted(seen, reverse=True):
            if path:
                (os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink)(path)
        return result, seen, capability

    result, seen, capability = in_namespace(maps, work)
    os.close(fd)
    assert seen["home"] == (1000, 1000, 0o2770)
    assert seen["home/file"] == (1000, 100, 0o6711)
    assert seen["home/link"][:2] == (33, 33)
    assert seen["fifo"] == (5, 60, 0o600)
    assert seen["nobody"] == (0, 65534, 0o644)
    assert capability[:20].hex() == "0100000200200000000000000000000000000000"
    assert result.skipped == ()
    assert result.records == (
        OwnerRecord("null", 0, 0, 0o020666, "c:1:3"),
        OwnerRecord("nobody", 4_000_000, 65534, 0o100644, ""),
    )
    assert result.implicit == ("opaque",)


def test_root_of_one_id_records_the_others(tmp_path: Path, namespaces: None) -> None:
    root = str(tmp_path / "root")

    def work() -> Extracted:
        return unpack(LAYER, root, one_id(0, 0))

    result = in_namespace(one_id(os.geteuid(), os.getegid()), work)
    recorded = {record.path: record for record in result.records}
    assert sorted(recorded) == ["fifo", "home", "home/file", "home/link", "nobody", "null"]
    assert recorded["home/file"] == OwnerRecord("home/file", 1000, 100, 0o106711, "")
    seen = look(root)
    assert {found.uid for found in seen.values()} == {os.geteuid()}
    assert seen["home/file"].mode == 0o6711
    assert "security.capability" in dict(seen["ping"].xattrs)
    assert is_whiteout(Path(root, "gone")) and is_opaque(Path(root, "opaque"))
    assert result.skipped == ()


def test_without_a_namespace_an_ordinary_user_gets_all_but_owners(tmp_path: Path) -> None:
    result = unpack(LAYER, str(tmp_path), natural())
    if os.geteuid():
        paths = {record.path for record in result.records}
        assert paths == {"home", "home/file", "home/link", "null", "fifo", "nobody"}
        assert result.skipped == ("security.capability: Operation not permitted ('ping')",)
    else:
        assert (tmp_path / "home/file").stat().st_uid == 1000
        assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
        assert (result.records, result.skipped) == ((), ())
    assert is_whiteout(tmp_path / "gone")
