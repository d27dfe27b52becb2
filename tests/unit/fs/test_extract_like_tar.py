"""Random trees, archived by GNU tar and by tarfile in every format, come out as tar(1) unpacks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.unpacking import look, unpack


def has_gnu_tar() -> bool:
    tar = shutil.which("tar")
    return bool(tar) and b"GNU tar" in subprocess.run((tar, "--version"), capture_output=True, check=False).stdout


pytestmark = pytest.mark.skipif(not has_gnu_tar(), reason="needs GNU tar")

FORMATS = {
    "GNU tar, gnu": ("--format=gnu", "--sparse"),
    "GNU tar, oldgnu": ("--format=oldgnu",),
    "GNU tar, pax": ("--format=pax", "--xattrs", "--xattrs-include=*"),
    "GNU tar, pax, sparse 0.0": ("--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.0"),
    "GNU tar, pax, sparse 0.1": ("--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.1"),
    "GNU tar, pax, sparse 1.0": ("--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=1.0"),
    "tarfile, pax": tarfile.PAX_FORMAT,
    "tarfile, gnu": tarfile.GNU_FORMAT,
}

names = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b".hidden", b"a b", b"-f", b"x=y"]),
    st.sampled_from([b"n" * 99, b"n" * 100, b"n" * 101, b"l" * 255, "ä€𝄞".encode(), b"\xff\xfe", b"new\nline"]),
    st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 0x2F} & set(name) and name not in (b".", b"..")),
).filter(lambda name: not name.startswith(b".wh."))


class Node(NamedTuple):
    """A file to make: in one of the directories made before, of any type."""

    parent: int
    name: bytes
    type: str
    mode: int
    mtime: int
    pieces: tuple[tuple[int, bytes], ...]
    target: bytes
    owner: tuple[int, int]
    xattrs: dict[str, bytes]


nodes = st.builds(
    Node,
    st.integers(0, 20),
    names,
    st.sampled_from(["file", "file", "directory", "directory", "symlink", "fifo", "hard link", "sparse"]),
    st.integers(0, 0o7777),
    st.integers(10**9, 2**31 * 10**9),  # tarfile writes shorter times as 1e-09, which no other reads
    st.lists(st.tuples(st.sampled_from([0, 0, 4096, 100_000]), st.binary(max_size=2000)), max_size=4).map(tuple),
    st.one_of(names, st.sampled_from([b"/etc/passwd", b"../a", b"t" * 101, b"t/" * 400])),
    st.tuples(st.sampled_from([0, 1, 1000, 2097152, 2**31]), st.sampled_from([0, 5, 100, 3_000_000])),
    st.dictionaries(st.sampled_from(["user.a", "user.long"]), st.binary(max_size=200), max_size=2),
)


def plant(root: bytes, wanted: list[Node]) -> None:
    """Make the files that can be made; of two with one name the first counts."""
    directories = [root]
    files: list[bytes] = []
    late: list[tuple[bytes, Node]] = []
    for node in wanted:
        path = directories[node.parent % len(directories)] + b"/" + node.name
        if os.path.lexists(path) or len(path) > 3000:
            continue
        if node.type == "directory":
            os.mkdir(path, 0o700)
            directories.append(path)
        elif node.type == "symlink":
            os.symlink(node.target, path)
        elif node.type == "fifo":
            os.mkfifo(path)
        elif node.type == "hard link" and files:
            os.link(files[node.parent % len(files)], path)
            continue
        else:
            with open(path, "wb") as file:
                for gap, data in node.pieces:
                    file.seek(gap, os.SEEK_CUR)
                    file.write(data)
                if node.type == "sparse":
                    file.truncate(file.tell() + 200_000)
            files.append(path)
        late.append((path, node))
    for path, node in reversed(late):
        if os.geteuid() == 0:
            os.chown(path, *node.owner, follow_symlinks=False)
        if not os.path.islink(path):
            # An ordinary user's tar, and ours, must be able to read it back.
            os.chmod(path, node.mode | (0o700 if os.path.isdir(path) else 0o600))
            if not node.type == "fifo":
                for name, value in node.xattrs.items():
                    os.setxattr(path, name, value)
        os.utime(path, ns=(node.mtime, node.mtime), follow_symlinks=False)
    os.utime(root, ns=(10**18, 10**18))


def pack(tree: str, archive: str, how: str) -> None:
    """Archive a tree."""
    options = FORMATS[how]
    if isinstance(options, tuple):
        subprocess.run(("tar", "-C", tree, *options, "-cf", archive, "."), check=True, capture_output=True)
        return
    with tarfile.open(archive, "w", format=options, errors="surrogateescape") as file:
        file.add(tree, arcname=".")


def unpack_by_tar(archive: str, where: str) -> None:
    """Unpack with all that GNU tar can restore."""
    os.mkdir(where)
    options = ("-p", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--delay-directory-restore")
    subprocess.run(("tar", "-C", where, *options, "-xf", archive), check=True, capture_output=True)


@pytest.mark.parametrize("how", FORMATS)
def test_random_trees_come_out_the_same(how: str, tmp_path: Path) -> None:
    @settings(
        deadline=None,
        database=None,
        max_examples=25,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(nodes, max_size=25), st.sampled_from([511, 512, 10_000, 1 << 20]))
    def compare(wanted: list[Node], chunk: int) -> None:
        top = tempfile.mkdtemp(dir=tmp_path)
        tree, archive = f"{top}/tree", f"{top}/archive"
        os.mkdir(tree)
        plant(os.fsencode(tree), wanted)
        pack(tree, archive, how)
        unpack_by_tar(archive, f"{top}/tar")
        with open(archive, "rb") as file:
            result = unpack(file.read(), f"{top}/ours", chunk=chunk)
        assert look(f"{top}/ours") == look(f"{top}/tar")
        assert result.implicit == result.skipped == ()
        if "sparse" in how:
            blocks = [_blocks(f"{top}/{name}") for name in ("ours", "tar")]
            assert blocks[0] <= blocks[1]
        shutil.rmtree(top)

    compare()


def _blocks(root: str) -> int:
    return sum(os.lstat(os.path.join(top, name)).st_blocks for top, _, names in os.walk(root) for name in names)
