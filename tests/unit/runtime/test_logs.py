"""The log: every record comes back, whatever the disk does."""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.runtime import logs
from rootless.runtime.logs import REMARK, STDERR, STDOUT, LogWriter

#: No deadline on a busy machine; no database where the tests may not write.
QUIET = settings(deadline=None, database=None, max_examples=50)
Pieces = list[tuple[int, bytes]]


def written(directory: Path) -> Pieces:
    return [(record.stream, record.data) for record in logs.read(str(directory))]


@QUIET
@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=300)), max_size=20))
def test_records_come_back_as_they_went(tmp_path_factory: pytest.TempPathFactory, pieces: Pieces) -> None:
    directory = tmp_path_factory.mktemp("log")
    log = LogWriter(str(directory))
    for stream, data in pieces:
        log.write(stream, data)
    log.close()
    assert written(directory) == pieces


def test_times_do_not_go_back(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path))
    for _ in range(3):
        log.write(STDOUT, b"x")
    log.close()
    times = [record.time for record in logs.read(str(tmp_path))]
    assert times == sorted(times)


def test_old_files_go_and_the_newest_records_stay(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), max_size=1000, max_files=3)
    for number in range(100):
        log.write(STDOUT, b"%099d\n" % number)
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "current"]
    kept = [int(data) for _, data in written(tmp_path)]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) >= 16
    assert all((tmp_path / name).stat().st_size <= 1200 for name in os.listdir(tmp_path))


def test_one_file_only_is_emptied(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), max_size=100, max_files=1)
    for number in range(10):
        log.write(STDOUT, b"%049d\n" % number)
    log.close()
    assert os.listdir(tmp_path) == ["current"]
    assert int(written(tmp_path)[-1][1]) == 9


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    for text in (b"first", b"second"):
        log = LogWriter(str(tmp_path))
        log.write(STDOUT, text)
        log.close()
    assert written(tmp_path) == [(STDOUT, b"first"), (STDOUT, b"second")]


@pytest.mark.parametrize("cut", range(1, 18))
def test_half_a_record_at_the_end_is_left_out(tmp_path: Path, cut: int) -> None:
    log = LogWriter(str(tmp_path))
    log.write(STDOUT, b"whole")
    log.write(STDERR, b"damaged")
    log.close()
    path = tmp_path / "current"
    os.truncate(path, path.stat().st_size - cut)
    assert written(tmp_path) == [(STDOUT, b"whole")]


def test_a_file_that_may_not_grow_leaves_a_gap_and_a_remark(tmp_path: Path) -> None:
    """EFBIG stands for a full disk here; setrlimit(2) brings it about without root."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = LogWriter(str(tmp_path))
    try:
        log.write(STDOUT, b"before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (25, old[1]))
        log.write(STDOUT, b"x" * 100)
        log.write(STDERR, b"y" * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    log.write(STDOUT, b"after")
    log.close()
    found = written(tmp_path)
    assert [stream for stream, _ in found] == [STDOUT, REMARK, STDOUT]
    assert found[1][1] == b"110 bytes of output were lost here: the disk was full\n"
    assert found[2] == (STDOUT, b"after")


def test_no_directory_is_an_empty_log(tmp_path: Path) -> None:
    assert list(logs.read(str(tmp_path / "missing"))) == []


def test_a_follower_sees_what_is_written_meanwhile_across_rotation(tmp_path: Path) -> None:
    done = threading.Event()
    wake_read, wake_write = os.pipe()
    count = 2000

    def write() -> None:
        log = LogWriter(str(tmp_path), max_size=4000, max_files=2000)
        for number in range(count):
            log.write(STDOUT, b"%d" % number)
        log.close()
        done.set()
        os.close(wake_write)

    LogWriter(str(tmp_path)).close()
    writer = threading.Thread(target=write)
    followed = logs.follow(str(tmp_path), ended=done.is_set, wake=wake_read)
    writer.start()
    seen = [int(record.data) for record in followed]
    writer.join()
    os.close(wake_read)
    assert seen == list(range(count))


def test_a_reader_misses_nothing_however_often_it_is_rotated_meanwhile(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), max_size=100, max_files=50)
    for number in range(10):
        log.write(STDOUT, b"%050d" % number)
    reading = logs.read(str(tmp_path))
    seen = [int(next(reading).data)]
    for number in range(10, 20):
        log.write(STDOUT, b"%050d" % number)
    seen += [int(record.data) for record in reading]
    log.close()
    assert seen == list(range(20))


def test_a_reader_too_slow_for_the_rotation_is_told_of_the_gap(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), max_size=100, max_files=2)
    log.write(STDOUT, b"%050d" % 0)
    reading = logs.read(str(tmp_path))
    assert int(next(reading).data) == 0
    for number in range(1, 20):
        log.write(STDOUT, b"%050d" % number)
    log.close()
    found = list(reading)
    assert found[0].stream == REMARK
    assert b"removed here" in found[0].data
    kept = [int(record.data) for record in found[1:]]
    assert kept == list(range(20 - len(kept), 20))


def test_a_follower_starts_with_what_is_there(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), max_size=100)
    for number in range(12):
        log.write(STDOUT, b"%020d" % number)
    log.close()
    kept = [record.data for record in logs.read(str(tmp_path))]
    assert [record.data for record in logs.follow(str(tmp_path), ended=lambda: True, wake=-1)] == kept


def test_an_unexpected_failure_is_not_hidden(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path))
    os.close(log._fd)
    with pytest.raises(OSError) as caught:
        log.write(STDOUT, b"x")
    assert caught.value.errno == errno.EBADF
