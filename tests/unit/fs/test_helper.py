"""With a helper an archive unpacks to the same as without one, whatever its entries do to each other."""

from __future__ import annotations

import os
import select
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs.extract import Extracted, extract
from fs.helper import Helper
from rootless.errors import BadImage, RlError, StoreError
from tests.support import tarwriter as tar
from tests.support.unpacking import Chunks, Seen, look, natural
from tests.support.users import remove_tree


def unpack(data: bytes, where: str, *, helped: bool, chunk: int = 1 << 20) -> Extracted | str:
    """Unpack and return the outcome, or what the error says."""
    os.mkdir(where)
    root = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not helped:
            return extract(Chunks(data, chunk), root, natural())
        with Helper(root) as helper:
            return extract(Chunks(data, chunk), root, natural(), helper)
    except RlError as e:
        return f"{type(e).__name__}: {e}"
    finally:
        os.close(root)


def both(data: bytes, top: str, *, chunk: int = 1 << 20) -> list[tuple[Extracted | str, dict[str, Seen] | None]]:
    """Unpack without and with a helper; what an error leaves behind is not compared."""
    results = []
    for helped in (False, True):
        outcome = unpack(data, f"{top}/{helped}", helped=helped, chunk=chunk)
        results.append((outcome, None if isinstance(outcome, str) else _timeless(look(f"{top}/{helped}"))))
    return results


def _timeless(seen: dict[str, Seen]) -> dict[str, Seen]:
    """Leave out the times that nobody set: those of directories without an entry, and of whiteouts."""
    return {path: each._replace(mtime=0) if each.mtime > 10**18 else each for path, each in seen.items()}


paths = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3).map(b"/".join)
contents = st.sampled_from([b"", b"1", b"2" * 600, b"3" * 5000])
entries = st.one_of(
    st.builds(tar.file, paths, contents, mode=st.sampled_from([0o644, 0o4755, 0o400]), uid=st.sampled_from([0, 7])),
    st.builds(tar.file, paths, contents),
    st.builds(tar.file, paths, contents),
    st.builds(tar.directory, paths, mode=st.sampled_from([0o755, 0o500])),
    st.builds(tar.symlink, paths, st.sampled_from([b"a", b"/b", b"../c", b".", b"nowhere"])),
    st.builds(tar.hard_link, paths, paths),
    st.builds(lambda path: tar.header(path, b"6"), paths),
    st.builds(lambda path: tar.header(path, b"3", rdev=(1, 3)), paths),
    st.builds(lambda path: tar.file(os.path.dirname(path) + b"/.wh." + os.path.basename(path)), paths),
    st.builds(lambda path: tar.file(path + b"/.wh..wh..opq"), paths),
)


def test_entries_that_meet_each_other_come_out_in_order(tmp_path: Path) -> None:
    @settings(deadline=None, database=None, max_examples=300)
    @given(st.lists(entries, max_size=12), st.sampled_from([512, 2048, 1 << 20]))
    def compare(wanted: list[bytes], chunk: int) -> None:
        top = tempfile.mkdtemp(dir=tmp_path)
        without, with_helper = both(b"".join(wanted) + tar.END, top, chunk=chunk)
        assert with_helper == without
        remove_tree(top)

    compare()


def test_many_files_in_many_chunks_are_all_there(tmp_path: Path) -> None:
    """More than the helper can have at once; each directory comes with its files, as in a real layer."""
    pieces = [tar.directory(b"d%d" % n, mtime=n) for n in range(50)]
    pieces += [
        tar.file(b"d%d/f%d" % (n % 50, n), b"%d" % n * (n % 700), mtime=n, mode=n % 512 | 0o400) for n in range(4000)
    ]
    without, with_helper = both(b"".join(pieces) + tar.END, str(tmp_path), chunk=65536)
    assert with_helper == without
    assert without[1]
    assert len(without[1]) == 4051


@pytest.mark.parametrize(
    "twice",
    [
        tar.file(b"x", b"second"),
        tar.directory(b"x"),
        tar.symlink(b"x", b"y"),
        tar.hard_link(b"x", b"y"),
        tar.header(b"x", b"6"),
        tar.file(b".wh.x"),
        tar.file(b"x/below", b"data"),
    ],
    ids=["file", "directory", "symlink", "hard link", "fifo", "whiteout", "file below it"],
)
def test_an_entry_waits_for_the_file_that_it_meets(tmp_path: Path, twice: bytes) -> None:
    data = tar.file(b"y", b"other") + tar.file(b"x", b"first") + twice + tar.END
    without, with_helper = both(data, str(tmp_path))
    assert with_helper == without


def test_a_directory_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    data = (
        tar.file(b"d/one", b"1")
        + tar.symlink(b"d", b"elsewhere")
        + tar.directory(b"d", mtime=5)
        + tar.file(b"d/two", b"2")
        + tar.END
    )
    without, with_helper = both(data, str(tmp_path))
    assert with_helper == without
    assert os.listdir(tmp_path / "True" / "d") == ["two"]


def test_a_file_that_the_helper_cannot_make_is_explained(tmp_path: Path) -> None:
    name = b"n" * 300
    data = tar.pax({b"path": name}) + tar.file(b"short", b"data") + tar.file(b"next", b"data") + tar.END
    said = unpack(data, str(tmp_path / "root"), helped=True)
    assert isinstance(said, str)
    assert said.startswith(f"{BadImage.__name__}: {os.fsdecode(name)!r} has a component of more than 255 bytes")


def test_a_killed_helper_is_an_error_and_not_a_missing_file(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    data = b"".join(tar.file(b"%d" % n, b"data") for n in range(100)) + tar.END
    try:
        with Helper(root) as helper:
            os.kill(helper.pid, signal.SIGKILL)
            with pytest.raises(StoreError, match="was killed"):
                extract(Chunks(data), root, natural(), helper)
    finally:
        os.close(root)


def test_a_helper_ends_with_the_process_that_made_it(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        helper = Helper(root)
        os.write(tell, b"%d" % helper.pid)
        signal.pause()
    os.close(root)
    helper_fd = os.pidfd_open(int(os.read(told, 32)))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert select.select([helper_fd], [], [], 30)[0]
    for fd in (helper_fd, told, tell):
        os.close(fd)


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    unpack(tar.file(b"a", b"data") + tar.END, str(tmp_path / "good"), helped=True)
    unpack(tar.file(b"a", b"data") + b"x" * 512, str(tmp_path / "bad"), helped=True)
    assert os.listdir("/proc/self/fd") == before
