"""What the test command does to the machine when root starts it: packages and users. Standard library only."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import sys
from typing import Any, Final

from tests.support.users import read_ranges

#: What the tests use, by the program that shows that it is there. No package here starts a service.
PACKAGES: Final = {
    "newuidmap": "uidmap",
    "busybox": "busybox-static",
    "mmdebstrap": "mmdebstrap",
    "htpasswd": "apache2-utils",
    "openssl": "openssl",
    "skopeo": "skopeo",
    "umoci": "umoci",
    "buildah": "buildah",
    "podman": "podman",
    "crun": "crun",
    "qemu-img": "qemu-utils",
    "debugfs": "e2fsprogs",
    "strace": "strace",
    "setfattr": "attr",
    "setcap": "libcap2-bin",
    "ip": "iproute2",
    "ps": "procps",
    "script": "bsdutils",
    "git": "git",
}
WITH_RANGES: Final = "rl-test"
WITHOUT: Final = "rl-one"
ID_COUNT: Final = 65536


class Stop(Exception):
    """What happened and what to type next; it ends the command with exit code 1."""


def say(text: str) -> None:
    print(f"=> {text}", flush=True)


def run(*command: str, **options: Any) -> None:
    """Run a command that must succeed; what it prints is seen."""
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, **options)


def missing() -> list[str]:
    """Return the Debian packages of the programs that are not here."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return sorted({package for program, package in PACKAGES.items() if not shutil.which(program, path=path)})


def install_packages() -> None:
    """Install what is missing, as root, without recommended packages and without questions."""
    packages = missing()
    apt = shutil.which("apt-get")
    if not packages or not apt:
        return
    say(f"installing {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(apt, "update", "-qq", env=environment)
        run(
            apt,
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            *packages,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError:
        say("apt-get failed; going on without")


def make_user(name: str, *, ranges: bool) -> None:
    """Make a user with a subuid and a subgid range, or without one; what exists is left as it is.

    Raises:
        Stop: the user exists and is not such a one.
    """
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        none = ("-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0")
        run("useradd", "--create-home", "--user-group", "--shell", "/bin/sh", "--comment", "tests of rl", *none, name)
        account = pwd.getpwnam(name)
    for path, option in (("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")):
        found = read_ranges(path, name, account.pw_uid)
        if ranges and not found:
            start = _free_start()
            run("usermod", option, f"{start}-{start + ID_COUNT - 1}", name)
        elif found and not ranges:
            raise Stop(f"{path} gives ids to {name}, who should have none: remove that line")


def _free_start() -> int:
    """Return the first id behind every range that somebody has."""
    end = 100000
    for path in ("/etc/subuid", "/etc/subgid"):
        if os.path.exists(path):
            with open(path) as f:
                fields = [line.split(":") for line in f if line.count(":") == 2]
            end = max([end, *(int(start) + int(length) for _, start, length in fields)])
    return end


def readable_python() -> str:
    """Return a Python that every user can run: this one, or the system's where this one is in somebody's home."""
    nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/", "env": {}}
    for candidate in (sys.executable, "/usr/bin/python3", *sorted(glob.glob("/usr/bin/python3.[1-9][0-9]"))):
        command = (candidate, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 10))")
        try:
            if subprocess.run(command, stderr=subprocess.DEVNULL, check=False, **nobody).returncode == 0:
                return candidate
        except OSError:
            continue
    raise Stop("no Python 3.10 or later that every user can read: apt-get install python3")
