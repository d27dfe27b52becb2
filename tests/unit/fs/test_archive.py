"""Headers of every kind that tar programs have written are read as they meant them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs import archive, pax
from fs.archive import Entry
from fs.sparse import Sparse
from rootless.errors import BadImage
from tests.support import tarwriter as tar
from tests.support.unpacking import Chunks


def read(data: bytes, chunk: int = 1 << 30) -> list[tuple[Entry, bytes]]:
    reader = archive.entries(Chunks(data, chunk))
    return [(entry, b"".join(bytes(piece) for piece in reader.data())) for entry in reader]


def one(data: bytes) -> Entry:
    ((entry, _),) = read(data + tar.END)
    return entry


def test_a_plain_header() -> None:
    entry = one(tar.file(b"etc/hosts", b"127.0.0.1", mode=0o4755, uid=7, gid=8, mtime=1234))
    assert entry == Entry(b"0", b"etc/hosts", b"", 0o4755, 7, 8, 9, 1234 * 10**9, (0, 0), {}, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"  644 \0 ", 0o644),
        (b"00000644", 0o644),
        (b"644\0junk", 0o644),
        (b"\0" * 8, 0),
        (b"        ", 0),
        (tar.base256(0, 8), 0),
        (tar.base256(2097152, 8), 2097152),
        (tar.base256(1 << 40, 12), 1 << 40),
        (tar.base256(-1, 8), -1),
        (tar.base256(-(1 << 33), 12), -(1 << 33)),
        (b"777777777777", 8**12 - 1),
    ],
)
def test_numbers(field: bytes, value: int) -> None:
    assert archive.number(field) == value


@pytest.mark.parametrize("field", [b"0000 44\0", b"12345689", b"abc\0\0\0\0\0"])
def test_what_is_not_a_number(field: bytes) -> None:
    with pytest.raises(BadImage, match="for a number"):
        archive.number(field)


def test_a_ustar_prefix_is_the_front_of_the_name() -> None:
    assert one(tar.header(b"b" * 100, prefix=b"a" * 155)).name == b"a" * 155 + b"/" + b"b" * 100


def test_a_prefix_counts_in_ustar_only() -> None:
    assert one(tar.header(b"name", magic=tar.GNU, prefix=b"1234567")).name == b"name"
    assert one(tar.header(b"name", magic=tar.V7, prefix=b"1234567")).name == b"name"


def test_star_keeps_times_behind_a_shorter_prefix() -> None:
    prefix = b"dir".ljust(131, b"\0") + b"00000000001 00000000002 " + b"\0" * 8 + b"tar\0"
    assert one(tar.header(b"name", prefix=prefix)).name == b"dir/name"


def test_old_archives_mark_directories_by_a_slash() -> None:
    assert one(tar.header(b"etc/", b"\0", magic=tar.V7)).kind == archive.DIRECTORY
    assert one(tar.header(b"etc", b"\0", magic=tar.V7)).kind == archive.FILE


@pytest.mark.parametrize("kind", [b"7", b"Z", b"s"])
def test_unknown_kinds_are_files(kind: bytes) -> None:
    ((entry, data), (after, _)) = read(tar.header(b"a", kind, size=3) + tar.padded(b"abc") + tar.file(b"b"))
    assert (entry.kind, data, after.name) == (archive.FILE, b"abc", b"b")


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_kinds_without_data_have_none_whatever_their_size_says(kind: bytes) -> None:
    ((first, _), (second, _)) = read(tar.header(b"a", kind, size=5000, link=b"x") + tar.file(b"b", b"data"))
    assert (first.size, second.name) == (0, b"b")


def test_sums_of_signed_bytes_are_accepted() -> None:
    block = tar.header(b"\xe4\xf6\xfc")
    signed = sum(block[:148] + b" " * 8 + block[156:]) - 3 * 256
    assert one(tar.with_checksum(block, signed)).name == b"\xe4\xf6\xfc"


def test_gnu_long_names_and_links() -> None:
    name, link = b"n" * 300, b"l" * 3000
    entry = one(tar.gnu_long(b"L", name) + tar.gnu_long(b"K", link) + tar.symlink(b"cut", b"cut"))
    assert (entry.name, entry.link) == (name, link)


def test_pax_records_override_the_header() -> None:
    records = {
        b"path": b"the/\xc3\xa4/path",
        b"uid": b"4000000000",
        b"gid": b"3000000000",
        b"mtime": b"1500000000.123456789",
        b"size": b"5",
        b"SCHILY.xattr.user.a=b".replace(b"=b", b""): b"v\0=\n1",
        b"comment": b"no",
    }
    data = tar.pax(records) + tar.header(b"cut", size=0) + tar.padded(b"12345") + tar.file(b"next")
    (first, content), (second, _) = read(data)
    assert first == Entry(
        b"0",
        b"the/\xc3\xa4/path",
        b"",
        0o644,
        4000000000,
        3000000000,
        5,
        1500000000123456789,
        (0, 0),
        {b"user.a": b"v\0=\n1"},
        None,
    )
    assert content == b"12345"
    assert (second.name, second.uid, second.mtime, second.xattrs) == (b"next", 0, 0, {})


def test_shared_pax_records_hold_until_they_are_overridden() -> None:
    data = (
        tar.pax({b"uid": b"5", b"mtime": b"9"}, b"g")
        + tar.file(b"a")
        + tar.pax({b"uid": b"6"})
        + tar.file(b"b")
        + tar.pax({b"uid": b"", b"mtime": b""}, b"g")
        + tar.file(b"c", uid=1)
    )
    assert [(e.uid, e.mtime) for e, _ in read(data)] == [(5, 9 * 10**9), (6, 9 * 10**9), (1, 0)]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"1.", 1_000_000_000),
        (b"-1.5", -1_500_000_000),
        (b"-0.0000000001", -1),
        (b"1700000000.1234567899", 1_700_000_000_123_456_789),
        (b"9999999999999999999", pax.LAST_SECOND * 10**9),
    ],
)
def test_times(text: bytes, nanoseconds: int) -> None:
    assert pax.time({b"mtime": text}, b"mtime", 0) == nanoseconds


SPARSE = Sparse(100_000, ((0, 512), (50_000, 1000)))
SPARSE_DATA = bytes(range(256)) * 2 + b"y" * 1000
SPARSE_FORMS = {
    "old GNU": tar.old_sparse(b"s", 100_000, [(0, 512), (50_000, 1000), (100_000, 0)], SPARSE_DATA),
    "PAX 0.0": tar.pax(
        [
            (b"GNU.sparse.size", b"100000"),
            (b"GNU.sparse.numblocks", b"2"),
            (b"GNU.sparse.offset", b"0"),
            (b"GNU.sparse.numbytes", b"512"),
            (b"GNU.sparse.offset", b"50000"),
            (b"GNU.sparse.numbytes", b"1000"),
        ]
    )
    + tar.file(b"s", SPARSE_DATA),
    "PAX 0.1": tar.pax(
        {
            b"GNU.sparse.size": b"100000",
            b"GNU.sparse.numblocks": b"2",
            b"GNU.sparse.name": b"s",
            b"GNU.sparse.map": b"0,512,50000,1000",
        }
    )
    + tar.file(b"GNUSparseFile.0/s", SPARSE_DATA),
    "PAX 1.0": tar.pax(
        {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": b"s",
            b"GNU.sparse.realsize": b"100000",
        }
    )
    + tar.file(b"GNUSparseFile.0/s", tar.padded(b"2\n0\n512\n50000\n1000\n") + SPARSE_DATA),
}


@pytest.mark.parametrize("form", SPARSE_FORMS)
def test_sparse_files(form: str) -> None:
    (first, data), (second, _) = read(SPARSE_FORMS[form] + tar.file(b"next") + tar.END)
    assert (first.kind, first.name, first.size, first.sparse) == (archive.FILE, b"s", 1512, SPARSE)
    assert data == SPARSE_DATA
    assert second.name == b"next"


def test_old_sparse_maps_go_on_in_further_blocks() -> None:
    segments = [(i * 1000, 10) for i in range(60)]
    entry = one(tar.old_sparse(b"s", 60_000, segments, b"x" * 600))
    assert entry.sparse == Sparse(60_000, tuple(segments))


def test_long_sparse_maps_of_version_1() -> None:
    segments = [(i * 1000, 10) for i in range(500)]
    text = b"500\n" + b"".join(b"%d\n%d\n" % segment for segment in segments)
    data = tar.pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"500000"})
    entry = one(data + tar.file(b"s", tar.padded(text) + b"x" * 5000))
    assert entry.sparse == Sparse(500_000, tuple(segments))
    assert entry.size == 5000


@pytest.mark.parametrize("end", [b"", bytes(512), tar.END, tar.END + b"anything"], ids=["none", "one", "two", "more"])
def test_the_end_mark_may_be_missing(end: bytes) -> None:
    assert [entry.name for entry, _ in read(tar.file(b"a", b"x") + end)] == [b"a"]


def test_an_empty_stream_is_an_empty_archive() -> None:
    assert read(b"") == []


MIXED = b"".join(
    (
        tar.directory(b"./"),
        tar.pax({b"path": b"p" * 200, b"SCHILY.xattr.user.x": os.urandom(300)}),
        tar.file(b"a", b"a" * 1500),
        *SPARSE_FORMS.values(),
        tar.gnu_long(b"L", b"q" * 700),
        tar.file(b"b", b"b" * 513),
        tar.symlink(b"c", b"d"),
        tar.END,
    )
)


@settings(deadline=None, database=None, max_examples=60)
@given(st.integers(1, 3000))
def test_it_does_not_matter_how_the_stream_is_cut(chunk: int) -> None:
    assert read(MIXED, chunk) == read(MIXED)


@pytest.mark.parametrize("length", range(1, len(MIXED) - 1024, 97))
def test_an_archive_cut_anywhere_but_between_entries_is_refused(length: int) -> None:
    if length % 512:
        with pytest.raises(BadImage):
            read(MIXED[:length])


@settings(deadline=None, database=None, max_examples=200)
@given(st.binary(max_size=2048), st.integers(0, 511))
def test_noise_is_refused_or_read_but_nothing_else(noise: bytes, at: int) -> None:
    block = bytearray(tar.file(b"name", b"content"))
    block[at : at + len(noise)] = noise
    for data in (noise, bytes(block), tar.with_checksum(bytes(block[:512]).ljust(512, b"\0")) + bytes(block[512:])):
        try:
            read(data)
        except BadImage:
            pass


@settings(deadline=None, database=None, max_examples=200)
@given(st.binary(max_size=300))
def test_noisy_extended_headers_are_refused_or_read(noise: bytes) -> None:
    for data in (
        noise,
        tar.pax_record(b"path", noise),
        tar.pax_record(b"mtime", noise),
        tar.pax_record(b"size", noise),
    ):
        try:
            read(tar.raw_pax(data) + tar.file(b"a"))
        except BadImage:
            pass
