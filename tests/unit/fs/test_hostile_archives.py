"""Archives made to harm: each is refused or does what it may, and nothing outside of the root changes."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fs import pax
from fs.extract import Extracted
from rootless.errors import BadImage, RlError
from tests.support import tarwriter as tar
from tests.support.unpacking import look, outcome

Check = Callable[[Path, Extracted], object]


class Case(NamedTuple):
    """An archive, given the absolute path of a directory that it must not touch; and what comes of it."""

    name: str
    make: Callable[[bytes], bytes]
    refused: str = ""
    check: Check = lambda root, result: True


def content(path: str, wanted: bytes) -> Check:
    """Ask for a regular file with this content."""
    return lambda root, result: (root / path).lstat().st_mode & stat.S_IFREG and (root / path).read_bytes() == wanted


def absent(*paths: str) -> Check:
    """Ask that nothing is there, not even a dangling link."""
    return lambda root, result: not any(os.path.lexists(root / path) for path in paths)


def sparse_1_0(text: bytes, data: bytes = b"", size: bytes = b"1000") -> bytes:
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": size}
    return tar.pax(records) + tar.file(b"s", tar.padded(text) + data)


def sparse_0_1(text: bytes, data: bytes = b"", size: bytes = b"1000") -> bytes:
    return tar.pax({b"GNU.sparse.map": text, b"GNU.sparse.size": size}) + tar.file(b"s", data)


def shared_bomb() -> bytes:
    value = b"x" * 900_000
    return b"".join(tar.pax({b"key%d" % i: value}, b"g") for i in range(3)) + tar.file(b"a")


CASES = [
    # Names
    Case("dot-dot", lambda out: tar.file(b"../outside/evil"), "outside of its root"),
    Case("dot-dot within", lambda out: tar.file(b"a/../../outside/evil"), "outside of its root"),
    Case("dot-dot after a slash", lambda out: tar.file(b"/../outside/evil"), "outside of its root"),
    Case("dot-dot behind dots", lambda out: tar.file(b"././../outside/evil"), "outside of its root"),
    Case("dot-dot in a PAX path", lambda out: tar.pax({b"path": b"../outside/evil"}) + tar.file(b"a"), "outside"),
    Case("dot-dot in a GNU name", lambda out: tar.gnu_long(b"L", b"../outside/evil") + tar.file(b"a"), "outside"),
    Case("dot-dot in a prefix", lambda out: tar.header(b"outside/evil", prefix=b".."), "outside"),
    Case("dot-dot directory", lambda out: tar.directory(b"..", mode=0o777), "outside"),
    Case("dot-dot whiteout", lambda out: tar.file(b"../outside/.wh.victim"), "outside"),
    Case("dot-dot opaque", lambda out: tar.file(b"../outside/.wh..wh..opq"), "outside"),
    Case("dot-dot sparse name", lambda out: tar.pax({b"GNU.sparse.name": b"../outside/x", b"GNU.sparse.size": b"0"})
         + tar.file(b"a"), "outside"),
    Case("absolute name", lambda out: tar.file(out + b"/evil", b"x"),
         check=lambda root, result: list(root.rglob("evil"))),
    Case("inner dot-dot stays in", lambda out: tar.file(b"a/../b", b"x"), check=content("b", b"x")),
    Case("NUL in a PAX path", lambda out: tar.pax({b"path": b"a\0b"}) + tar.file(b"a"), "NUL"),
    Case("NUL in a PAX link", lambda out: tar.pax({b"linkpath": b"a\0b"}) + tar.symlink(b"a", b"b"), "NUL"),
    Case("NUL in an xattr name", lambda out: tar.pax({b"SCHILY.xattr.user.a\0b": b""}) + tar.file(b"a"), "NUL"),
    Case("component of 256 bytes", lambda out: tar.pax({b"path": b"a" * 256}) + tar.file(b"a"), "255 bytes"),
    Case("path of 5000 bytes", lambda out: tar.pax({b"path": b"a/" * 2500 + b"b"}) + tar.file(b"a"), "longer than"),
    Case("root as a file", lambda out: tar.header(b".", b"0"), "root of the archive"),
    Case("root as a link", lambda out: tar.symlink(b"/", out), "root of the archive"),
    Case("root as a hard link", lambda out: tar.file(b"a") + tar.hard_link(b".", b"a"), "root of the archive"),
    Case("root as a fifo", lambda out: tar.header(b"./", b"6"), "root of the archive"),
    Case("newlines and escapes in names", lambda out: tar.file(b"a\nb\x1b[31m\xff", b"x"),
         check=lambda root, result: os.listdir(os.fsencode(root)) == [b"a\nb\x1b[31m\xff"]),
    # Symbolic links
    Case("file through an absolute link", lambda out: tar.symlink(b"l", out) + tar.file(b"l/evil", b"x"),
         check=lambda root, result: [p for p in root.rglob("evil") if not p.is_symlink()]),
    Case("file through a relative link", lambda out: tar.symlink(b"l", b"../outside") + tar.file(b"l/evil", b"x"),
         check=content("outside/evil", b"x")),
    Case("file through a chain of links",
         lambda out: tar.symlink(b"a", b"b/../..") + tar.symlink(b"b", b".") + tar.file(b"a/outside/evil", b"x"),
         check=content("outside/evil", b"x")),
    Case("file over a link to a file", lambda out: tar.symlink(b"l", out + b"/victim") + tar.file(b"l", b"x"),
         check=content("l", b"x")),
    Case("file over a dangling link", lambda out: tar.symlink(b"l", out + b"/evil") + tar.file(b"l", b"x"),
         check=content("l", b"x")),
    Case("directory over a link", lambda out: tar.symlink(b"l", out) + tar.directory(b"l", mode=0o777)
         + tar.file(b"l/x", b"x"), check=content("l/x", b"x")),
    Case("directory swapped for a link",
         lambda out: tar.directory(b"d") + tar.file(b"d/a") + tar.symlink(b"d", out) + tar.file(b"d/evil", b"x"),
         check=absent("d/a")),
    Case("link swapped under an open parent",
         lambda out: tar.directory(b"d/e") + tar.file(b"d/e/a") + tar.symlink(b"d", b"../outside")
         + tar.file(b"d/e/evil", b"x"), check=content("outside/e/evil", b"x")),
    Case("mode through a link", lambda out: tar.symlink(b"l", out) + tar.directory(b"l/.", mode=0o777),
         check=lambda root, result: (root / "l").is_dir() and not (root / "l").is_symlink()),
    Case("fifo over a link", lambda out: tar.symlink(b"l", out + b"/victim") + tar.header(b"l", b"6"),
         check=lambda root, result: stat.S_ISFIFO((root / "l").lstat().st_mode)),
    Case("whiteout through a link", lambda out: tar.symlink(b"l", out) + tar.file(b"l/.wh.victim")),
    Case("whiteout of a link", lambda out: tar.symlink(b"l", out) + tar.file(b".wh.l"),
         check=lambda root, result: (root / "l").is_symlink()),
    Case("opaque through a link", lambda out: tar.symlink(b"l", out) + tar.file(b"l/.wh..wh..opq")),
    Case("links in a circle", lambda out: tar.symlink(b"a", b"b") + tar.symlink(b"b", b"a") + tar.file(b"a/x"),
         "in a circle"),
    Case("link to itself", lambda out: tar.symlink(b"a", b"a") + tar.file(b"a/x"), "in a circle"),
    Case("link into proc", lambda out: tar.symlink(b"p", b"/proc/self/cwd") + tar.file(b"p/rl-evil", b"x"),
         check=content("proc/self/cwd/rl-evil", b"x")),
    Case("empty link", lambda out: tar.symlink(b"l", b""), "target of 0 bytes"),
    Case("link of 5000 bytes", lambda out: tar.gnu_long(b"K", b"x" * 5000) + tar.symlink(b"l", b"x"), "5000 bytes"),
    Case("xattr through a link",
         lambda out: tar.pax({b"SCHILY.xattr.user.evil": b"1"}) + tar.symlink(b"l", out + b"/victim")),
    Case("time through a link", lambda out: tar.symlink(b"l", out + b"/victim", mtime=1),
         check=lambda root, result: (root / "l").lstat().st_mtime == 1),
    # Hard links
    Case("hard link to outside", lambda out: tar.hard_link(b"l", b"../outside/victim"), "outside of its root"),
    Case("hard link to an absolute path", lambda out: tar.hard_link(b"l", out + b"/victim"), "not in this layer"),
    Case("hard link through a link", lambda out: tar.symlink(b"d", out) + tar.hard_link(b"l", b"d/victim"),
         "not in this layer"),
    Case("write through a hard link to a link",
         lambda out: tar.symlink(b"a", out + b"/victim") + tar.hard_link(b"b", b"a") + tar.file(b"b", b"x"),
         check=content("b", b"x")),
    Case("hard link to a directory", lambda out: tar.directory(b"d") + tar.hard_link(b"l", b"d"), "to a directory"),
    Case("hard link to the root", lambda out: tar.hard_link(b"l", b"."), "to a directory"),
    Case("hard link to nothing", lambda out: tar.hard_link(b"l", b"later") + tar.file(b"later"), "not in this layer"),
    Case("hard link into a file", lambda out: tar.file(b"f") + tar.hard_link(b"l", b"f/x"), "not in this layer"),
    Case("hard link to a whiteout", lambda out: tar.file(b".wh.f") + tar.hard_link(b"l", b"f"), "not in this layer"),
    # What only looks like something else
    Case("file as a parent", lambda out: tar.file(b"f") + tar.file(b"f/x"), "not a directory"),
    Case("fifo as a parent", lambda out: tar.header(b"f", b"6") + tar.file(b"f/x"), "not a directory"),
    Case("writing into a fifo", lambda out: tar.header(b"f", b"6") + tar.file(b"f", b"x"), check=content("f", b"x")),
    Case("a whiteout as a device", lambda out: tar.header(b"etc", b"3", rdev=(0, 0)), check=absent("etc")),
    Case("a device with numbers that no device has",
         lambda out: tar.header(b"d", b"3", rdev=(1 << 40, 3)), check=absent("d")),
    Case("forged whiteout attributes",
         lambda out: tar.pax({b"SCHILY.xattr.user.overlay.whiteout": b"y", b"SCHILY.xattr.user.overlay.opaque": b"x"})
         + tar.file(b"f") + tar.pax({b"SCHILY.xattr.user.overlay.opaque": b"y",
                                     b"SCHILY.xattr.trusted.overlay.opaque": b"y"}) + tar.directory(b"d"),
         check=lambda root, result: os.listxattr(root / "f") + os.listxattr(root / "d") == [] and result.skipped[2:]),
    Case("whiteout of nothing", lambda out: tar.file(b"d/.wh."), "name of a whiteout"),
    Case("whiteout of its directory", lambda out: tar.file(b"d/.wh.."), "name of a whiteout"),
    Case("whiteout of its parent", lambda out: tar.file(b"d/.wh..."), "name of a whiteout"),
    # Numbers
    Case("negative size", lambda out: tar.header(b"a", size=tar.base256(-512, 12)), "impossible size"),
    Case("negative octal size", lambda out: tar.header(b"a", size=b"-0000000777"), "impossible size"),
    Case("size beyond 63 bits", lambda out: tar.header(b"a", size=tar.base256(1 << 64, 12)), "impossible size"),
    Case("size beyond the archive", lambda out: tar.header(b"a", size=1 << 32) + bytes(4096), "middle of an entry"),
    Case("negative PAX size", lambda out: tar.pax({b"size": b"-1"}) + tar.file(b"a"), "not a number"),
    Case("PAX size with words", lambda out: tar.pax({b"size": b"1e3"}) + tar.file(b"a"), "not a number"),
    Case("owner -1", lambda out: tar.pax({b"uid": b"4294967295"}) + tar.file(b"a"), "impossible"),
    Case("owner beyond 32 bits", lambda out: tar.header(b"a", uid=tar.base256(1 << 40, 8)), "impossible"),
    Case("negative owner", lambda out: tar.header(b"a", gid=tar.base256(-1, 8)), "impossible"),
    Case("a mode full of bits", lambda out: tar.header(b"a", mode=b"7777777\0"),
         check=lambda root, result: (root / "a").lstat().st_mode == stat.S_IFREG | 0o7777),
    Case("a time beyond time", lambda out: tar.header(b"a", mtime=tar.base256(1 << 87, 12)),
         check=content("a", b"")),
    Case("wrong checksum", lambda out: tar.header(b"a", checksum=1), "checksum"),
    Case("not a number", lambda out: tar.header(b"a", mode=b"rwxr-xr-"), "for a number"),
    # Extended headers
    Case("PAX header of 16 GiB", lambda out: tar.header(b"p", b"x", size=1 << 34), "not believable"),
    Case("PAX header just too long", lambda out: tar.raw_pax(bytes(pax.MAX_HEADER + 1)), "not believable"),
    Case("GNU name of 1 MiB", lambda out: tar.gnu_long(b"L", b"a" * (1 << 20)) + tar.file(b"a"), "not believable"),
    Case("shared headers without end", lambda out: shared_bomb(), "shared PAX headers"),
    Case("PAX record beyond its header", lambda out: tar.raw_pax(b"999 path=evil\n") + tar.file(b"a"), "malformed"),
    Case("PAX record of length 0", lambda out: tar.raw_pax(b"0 path=evil\n") + tar.file(b"a"), "malformed"),
    Case("PAX record without a key", lambda out: tar.raw_pax(b"6 =a\n\n") + tar.file(b"a"), "malformed"),
    Case("PAX record without its newline", lambda out: tar.raw_pax(b"8 a=bcde") + tar.file(b"a"), "malformed"),
    Case("PAX record of negative length", lambda out: tar.raw_pax(b"-5 a=b\n") + tar.file(b"a"), "malformed"),
    Case("PAX record of endless length", lambda out: tar.raw_pax(b"9" * 600 + b" a=b\n") + tar.file(b"a"), "malformed"),
    Case("extended header at the end", lambda out: tar.pax({b"path": b"x"}), "after an extended header"),
    Case("GNU name at the end", lambda out: tar.gnu_long(b"L", b"x"), "after an extended header"),
    Case("another volume", lambda out: tar.header(b"a", b"M"), "another volume"),
    # Sparse maps
    Case("sparse beyond its size", lambda out: tar.old_sparse(b"s", 10, [(0, 512)], bytes(512)), "beyond its end"),
    Case("sparse overlapping", lambda out: tar.old_sparse(b"s", 4096, [(0, 512), (256, 512)], bytes(1024)), "order"),
    Case("sparse without its data", lambda out: tar.old_sparse(b"s", 4096, [(0, 4096)], bytes(512)), "names 4096"),
    Case("sparse with more data", lambda out: tar.old_sparse(b"s", 4096, [(0, 512)], bytes(1024)), "entry has 1024"),
    Case("sparse of negative size", lambda out: tar.old_sparse(b"s", -1, [], b""), "size of -1"),
    Case("sparse at a negative offset", lambda out: tar.old_sparse(b"s", 4096, [(-512, 512)], bytes(512)), "order"),
    Case("sparse of 8 EiB", lambda out: sparse_0_1(b"", size=b"9223372036854775807"), "larger than the file system"),
    Case("sparse of 16 EiB", lambda out: sparse_0_1(b"", size=b"18446744073709551615"), "cannot have a size"),
    Case("sparse map of odd length", lambda out: sparse_0_1(b"0,1,2", b"x"), "odd"),
    Case("sparse map of words", lambda out: sparse_0_1(b"0,x", b"x"), "not a number"),
    Case("sparse map with signs", lambda out: sparse_0_1(b"-1,1", b"x"), "not a number"),
    Case("sparse map without a count", lambda out: sparse_1_0(b"x" * 512), "no count"),
    Case("sparse map with a huge count", lambda out: sparse_1_0(b"99999999999\n0\n0\n"), "more than"),
    Case("sparse map that ends", lambda out: sparse_1_0(b"3\n0\n1\n"), "longer than its data"),
    Case("sparse map that ends in zeros", lambda out: sparse_1_0(b"3\n0\n1\n", bytes(2048)), "ends early"),
    Case("sparse map of endless numbers", lambda out: sparse_1_0(b"1\n" + b"1" * 5000), "ends early"),
    Case("sparse map out of order", lambda out: tar.pax([(b"GNU.sparse.numbytes", b"1"), (b"GNU.sparse.offset", b"0"),
                                                         (b"GNU.sparse.size", b"1")]) + tar.file(b"s", b"x"), "order"),
    Case("sparse of an unknown version", lambda out: tar.pax({b"GNU.sparse.major": b"2"}) + tar.file(b"s"), "version"),
    # Not archives
    Case("noise", lambda out: b"\x00\x01" * 1024, "not a tar header"),
    Case("text", lambda out: b"<html><body>404 Not Found</body></html>".ljust(1024), "not a tar header"),
    Case("half a block", lambda out: tar.file(b"a")[:300], "middle of an entry|not a tar header"),
    Case("half a file", lambda out: tar.file(b"a", bytes(5000))[:2000], "middle of an entry"),
]  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Make a directory beside the root, with something in it to harm."""
    victim = tmp_path / "outside"
    victim.mkdir()
    (victim / "victim").write_text("unharmed")
    os.utime(victim / "victim", ns=(10**18, 10**18))
    os.utime(victim, ns=(10**18, 10**18))
    return victim


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "ended"])
def test_the_archive_does_no_harm(case: Case, cut: int, tmp_path: Path, outside: Path) -> None:
    root = tmp_path / "root"
    before = look(str(outside))
    listed = sorted(os.listdir("/")), sorted(os.listdir())
    descriptors = os.listdir("/proc/self/fd")
    result = outcome(case.make(os.fsencode(outside)) + tar.END * cut, str(root))
    assert look(str(outside)) == before
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert (sorted(os.listdir("/")), sorted(os.listdir())) == listed
    assert os.listdir("/proc/self/fd") == descriptors
    if case.refused:
        assert isinstance(result, BadImage)
        assert re.search(case.refused, result.message)
    else:
        assert not isinstance(result, RlError), result
        assert case.check(root, result)


def test_what_is_replaced_again_and_again_is_forgotten(tmp_path: Path) -> None:
    data = b"".join(tar.file(b"d%d/f" % i) + tar.file(b"d%d" % i) for i in range(300))
    result = outcome(data + tar.END, str(tmp_path / "root"))
    assert isinstance(result, Extracted)
    assert (result.entries, result.implicit) == (600, ())
