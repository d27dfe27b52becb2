"""Programs the tests use: from PATH, else out of a Debian package that is unpacked into the cache, not installed.

Unpacking starts no service (docker-registry) and needs no root (an ordinary user on a fresh machine).
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile

from tests.support import cache
from tests.support.cache import Unavailable

#: Programs that run without being installed: static, or with no library beyond libc. Name → package, path in it.
_UNPACKED = {
    "busybox": ("busybox-static", "bin/busybox"),
    "docker-registry": ("docker-registry", "usr/bin/docker-registry"),
    "crun": ("crun", "usr/bin/crun"),
    "umoci": ("umoci", "usr/bin/umoci"),
}
_PACKAGES = {
    "skopeo": "skopeo",
    "htpasswd": "apache2-utils",
    "openssl": "openssl",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "debugfs": "e2fsprogs",
}


def find(program: str) -> str:
    """Return the path of ``program``.

    Raises:
        Unavailable: it is not installed and its package cannot be fetched.
    """
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found and not (program == "busybox" and _is_dynamic(found)):
        return found
    if program not in _UNPACKED:
        package = _PACKAGES.get(program, program)
        raise Unavailable(f"{program} is not installed: sudo apt-get install {package}")
    package, inside = _UNPACKED[program]
    return f"{cache.get(f'tool-{package}', lambda staging: _unpack(package, staging))}/{inside}"


def run(*command: str, **environment: str) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        Unavailable: it failed; the text ends with what it said.
    """
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Unavailable(f"{os.path.basename(command[0])} exited with {done.returncode}: {said}")
    return done.stdout


def _is_dynamic(path: str) -> bool:
    """Tell whether the ELF file asks for an interpreter; a PT_INTERP names one of these paths."""
    with open(path, "rb") as f:
        head = f.read(4096)
    return b"/ld-linux" in head or b"/ld-musl" in head


def _unpack(package: str, target: str) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise Unavailable(f"{package} is not installed, and there is no apt-get to fetch it with")
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            (apt, "download", "-q", package), cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        archives = glob.glob(f"{directory}/*.deb")
        if done.returncode or not archives:
            raise Unavailable(f"{package} cannot be fetched: sudo apt-get update && sudo apt-get install {package}")
        run("dpkg-deb", "-x", archives[0], target)
