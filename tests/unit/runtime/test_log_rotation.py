"""A log whose disk takes no new file is not rotated, and loses nothing that fits."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from rootless.runtime import logs


def test_a_log_that_cannot_get_a_new_file_grows_on(tmp_path: Path) -> None:
    """Out of descriptors as out of inodes: the container must not end for it."""
    writer = logs.LogWriter(str(tmp_path), max_size=100, max_files=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
    try:
        for number in range(10):
            writer.write(logs.STDOUT, b"%050d" % number)
        assert not (tmp_path / "1").exists()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken[0])
    assert [record.data for record in logs.read(str(tmp_path))] == [b"%050d" % number for number in range(10)]
    writer.write(logs.STDOUT, b"more")
    assert sorted(os.listdir(tmp_path)) == ["1", "current"]
    writer.close()
