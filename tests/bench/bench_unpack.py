"""Unpack one gzip layer with rl, ``tar -xzf`` and ``umoci unpack``; print wall and CPU seconds, medians.

    python -m tests.bench.bench_unpack [-n RUNS] [--scratch DIR] [CACHE]

The layer is made once of this machine's /usr: about 30,000 entries and 300 MB. Needs tar, gzip; umoci is optional.

Nothing is removed before the end: for minutes after many files were removed, ext4 searches long for an inode
that was not just freed, up to ten times longer than all else takes. A fresh file system as DIR is best.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fs import compression, extract, streams
from idmap.ranges import IdMap, IdRange, UserMap

ENTRIES = 30_000
SIZE = 300_000_000
SMALL = 128 << 10


class Cost(NamedTuple):
    """Seconds of one run."""

    wall: float
    cpu: float


def choose(top: str) -> list[str]:
    """Return names of files, links and directories: mostly small, as in a real layer, and large ones to fill up."""
    names: list[str] = []
    large: list[tuple[str, int]] = []
    total = 0
    for name, size in sorted(_walk(top)):
        if size > SMALL:
            large.append((name, size))
        elif len(names) < ENTRIES:
            names.append(name)
            total += size
    for name, size in large:
        if total + size <= SIZE:
            names.append(name)
            total += size
    return sorted(names)


def _walk(top: str) -> Iterator[tuple[str, int]]:
    for where, directories, files in os.walk(top):
        if len(os.listdir(where)) == len(directories) + len(files):
            yield where, 0
        for name in files:
            path = f"{where}/{name}"
            if os.path.islink(path) or os.access(path, os.R_OK):
                yield path, os.lstat(path).st_size


def make_layer(cache: str) -> str:
    """Return a directory with ``layer.tar.gz`` and with ``layout``, the same as an OCI image for umoci."""
    where = f"{cache}/unpack-1"
    if os.path.isdir(where):
        return where
    os.makedirs(cache, exist_ok=True)
    staging = tempfile.mkdtemp(dir=cache)
    with open(f"{staging}/names", "w", errors="surrogateescape") as file:
        file.writelines(f"{name}\0" for name in choose("/usr"))
    layer = f"{staging}/layer.tar"
    subprocess.run(
        ("tar", "-C", "/", "-cf", layer, "--no-recursion", "--null", "-T", f"{staging}/names"),
        check=True,
        stderr=subprocess.DEVNULL,
    )
    diff_id = _sha256(layer)
    subprocess.run(("gzip", "-n", layer), check=True)
    blobs = f"{staging}/layout/blobs/sha256"
    os.makedirs(blobs)
    digest = _sha256(f"{layer}.gz")
    os.link(f"{layer}.gz", f"{blobs}/{digest}")
    config = _put(
        blobs,
        "config",
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}},
    )
    layers = [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": f"sha256:{digest}",
            "size": os.path.getsize(f"{layer}.gz"),
        }
    ]
    manifest = _put(blobs, "manifest", {"schemaVersion": 2, "config": config, "layers": layers})
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
    for name, document in (
        ("index.json", {"schemaVersion": 2, "manifests": [manifest]}),
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
    ):
        with open(f"{staging}/layout/{name}", "w") as file:
            json.dump(document, file)
    os.rename(staging, where)
    return where


def _put(blobs: str, kind: str, document: dict[str, object]) -> dict[str, object]:
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{blobs}/{digest}", "wb") as file:
        file.write(data)
    media_type = f"application/vnd.oci.image.{kind}.v1+json"
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _sha256(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        reader = streams.HashingReader(file)
        while reader.read(streams.CHUNK):
            pass
        return reader.hexdigest()


def unpack(archive: str, where: str, *, hashed: bool) -> None:
    """Unpack as a pull does: inflating, and if ``hashed`` checking what is downloaded and inflated, in a thread."""
    os.mkdir(where)
    root = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    uid, gid, length = os.geteuid(), os.getegid(), 1
    if uid == 0:
        length = 1 << 31
    owners = UserMap(IdMap([IdRange(0, uid, length)]), IdMap([IdRange(0, gid, length)]))
    with open(archive, "rb", buffering=0) as file:
        raw: streams.Readable = file
        stream = compression.open(streams.HashingReader(raw) if hashed else raw)
        with streams.ReadAhead(streams.HashingReader(stream) if hashed else stream) as ahead:
            extract.extract(ahead, root, owners)


def measure(work: tuple[str, ...] | Callable[[], None]) -> Cost:
    """Run a command, or a function in a forked child as a pull does it; what was dirty is first put on disk."""
    os.sync()
    begin = time.monotonic()
    if isinstance(work, tuple):
        pid = os.posix_spawnp(work[0], work, dict(os.environ))
    elif (pid := os.fork()) == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - begin
    if status:
        raise SystemExit(f"{work} failed: {os.waitstatus_to_exitcode(status)}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Run all, turn by turn, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=5, help="runs of each")
    parser.add_argument("--scratch", help="where to unpack to; default: the cache")
    parser.add_argument("cache", nargs="?", default=_default_cache(), help="where the layer is kept")
    options = parser.parse_args()
    made = make_layer(options.cache)
    archive = f"{made}/layer.tar.gz"
    commands: dict[str, Callable[[str], tuple[str, ...] | Callable[[], None]]] = {
        "rl": lambda where: lambda: unpack(archive, where, hashed=False),
        "rl, digests checked": lambda where: lambda: unpack(archive, where, hashed=True),
        "tar -xzf": lambda where: ("sh", "-c", f"mkdir {where} && exec tar -C {where} -xzf {archive}"),
    }
    if shutil.which("umoci"):
        rootless = ("--rootless",) if os.geteuid() else ()
        commands["umoci unpack"] = lambda where: (
            *("umoci", "--log", "error", "unpack", *rootless, "--image", f"{made}/layout:bench"),
            where,
        )
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    scratch = tempfile.mkdtemp(dir=options.scratch or options.cache)
    try:
        for run in range(options.n):
            for number, (name, command) in enumerate(commands.items()):
                costs[name].append(measure(command(f"{scratch}/{run}-{number}")))
    finally:
        subprocess.run(("rm", "-rf", scratch), check=True)
    base = _median(costs["rl"])
    print(f"{os.path.getsize(archive) / 1e6:.0f} MB gzip, medians of {options.n}")
    print(f"{'':22}{'wall s':>8}{'CPU s':>8}{'wall ratio':>12}{'CPU ratio':>11}")
    for name, runs in costs.items():
        cost = _median(runs)
        print(
            f"{name:22}{cost.wall:8.2f}{cost.cpu:8.2f}{cost.wall / base.wall:12.2f}{cost.cpu / base.cpu:11.2f}"
            f"   (wall {min(run.wall for run in runs):.2f} to {max(run.wall for run in runs):.2f})"
        )


def _median(runs: list[Cost]) -> Cost:
    return Cost(statistics.median(run.wall for run in runs), statistics.median(run.cpu for run in runs))


def _default_cache() -> str:
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rl-bench")


if __name__ == "__main__":
    main()
