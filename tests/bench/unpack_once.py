"""Unpack ARCHIVE into the new directory WHERE as a pull does; HOW is ``plain``, or ``hashed`` to check digests too."""

from __future__ import annotations

import os
import sys

from fs import compression, extract, helper, streams
from idmap.ranges import IdMap, IdRange, UserMap


def main(how: str, archive: str, where: str) -> None:
    """Inflate in a thread and write in this one."""
    os.mkdir(where)
    root = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    owners = UserMap(IdMap([IdRange(0, os.geteuid(), 1)]), IdMap([IdRange(0, os.getegid(), 1)]))
    with open(archive, "rb", buffering=0) as file, helper.Helper(root) as hands:
        raw: streams.Readable = file
        stream = compression.open(streams.HashingReader(raw) if how == "hashed" else raw)
        with streams.ReadAhead(streams.HashingReader(stream) if how == "hashed" else stream) as ahead:
            extract.extract(ahead, root, owners, hands)


if __name__ == "__main__":
    main(*sys.argv[1:])
