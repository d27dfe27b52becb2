"""What root does for the benches: a user and rl for it, cgroup v2 alone in a mount namespace, and looking into memory.

Podman refuses to run where /sys/fs/cgroup mixes v1 and v2. In a mount namespace a cgroup2 file system covers it, which
changes nothing for anybody else. Once a monitor has entered a user namespace, its smaps are root's to read (ptrace(2),
"Ptrace access mode checking"): the benches ask for them over a socket.
"""

from __future__ import annotations

import os
import pwd
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.bench.setting import READER
from tests.support import machine, turns

HERE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_ENTER: Final = """\
mount --make-rshared /  # or podman warns
test -e /sys/fs/cgroup/cgroup.controllers || mount -t cgroup2 none /sys/fs/cgroup
exec setpriv --reuid "$0" --regid "$0" --init-groups "$@"
"""


def start(words: list[str], user: str, python: str | None) -> int:
    """Run the benches as ``user`` with the rl beside ``python``, or with a wheel of this tree."""
    with _installed(python) as (chosen, suite):
        account = pwd.getpwnam(user)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {
            "HOME": account.pw_dir,
            "USER": user,
            "PATH": f"{os.path.dirname(chosen)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            READER: str(theirs.fileno()),
            **{key: os.environ[key] for key in ("RL_TEST_TMP", "RL_TEST_CACHE") if key in os.environ},
        }
        command = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, user)
        child = subprocess.Popen(
            (*command, chosen, "-m", "tests.bench", *words), cwd=suite, env=env, pass_fds=(theirs.fileno(),)
        )
        theirs.close()
        with child, ours:
            _read_for(child, ours, account.pw_uid)
        return child.returncode


@contextmanager
def _installed(python: str | None) -> Iterator[tuple[str, str]]:
    """Give a Python that has rl, and the directory with ``tests`` in it."""
    if python is not None:
        yield python, HERE
        return
    import dev

    machine.install_packages()
    machine.make_user(machine.WITH_RANGES, ranges=True)
    chosen = machine.readable_python()
    with turns.Workplace(HERE) as place:
        made = dev.environment(place.environment(chosen), chosen)
        machine.say("installing a wheel of this tree")
        dev.pip(made, "-r", f"{place.source}/requirements-dev.lock")
        dev.pip(made, "--no-deps", "--no-index", "--force-reinstall", place.wheel(made))
        yield made, place.suite


def _read_for(child: subprocess.Popen[bytes], asked: socket.socket, uid: int) -> None:
    """Answer pids with their smaps_rollup until the child has ended; only those that ``uid`` started."""
    ended = os.pidfd_open(child.pid)
    try:
        while True:
            ready, _, _ = select.select((ended, asked), (), ())
            if asked in ready and (pid := asked.recv(64)):
                asked.sendall(_smaps(int(pid), uid))
            elif ended in ready:
                return
    finally:
        os.close(ended)


def _smaps(pid: int, uid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/status") as status, open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            mine = any(line.split()[1] == str(uid) for line in status if line.startswith("Uid:"))
            return rollup.read() if mine else b"no"
    except OSError:
        return b"no"
