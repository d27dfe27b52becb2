"""What root does for the benches: a user and rl for it, cgroup v2 alone in a mount namespace, and looking into memory.

Podman refuses to run where /sys/fs/cgroup mixes v1 and v2. In a mount namespace a cgroup2 file system covers it, which
changes nothing for anybody else. There is also a new file system: on one where others have just removed many files,
ext4 searches long for an inode that was not freed lately, which can cost more than all else. And where a monitor's
smaps are root's to read (ptrace(2), "Ptrace access mode checking"), the benches ask for them over a socket.
"""

from __future__ import annotations

import os
import pwd
import select
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.bench.setting import READER
from tests.support import machine, turns

HERE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: In the mount namespace: $0 is the user, $1 a file to make a file system in, $2 where to mount it, $3 the niceness.
_ENTER: Final = """\
set -e
mount --make-rshared /  # or podman warns
test -e /sys/fs/cgroup/cgroup.controllers || mount -t cgroup2 none /sys/fs/cgroup
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$1"
mount -o loop "$1" "$2"
rm "$1"
chmod 1777 "$2"
test "$3" = 0 || test ! -e /proc/self/autogroup || echo "$3" >/proc/self/autogroup
renice --priority "$3" --pid $$ >/dev/null
shift 3
exec setpriv --reuid "$0" --regid "$0" --init-groups "$@"
"""

#: Bytes of the sparse file in which the benches have a file system of their own.
_DISK: Final = 32 << 30


def start(words: list[str], user: str, python: str | None, nice: int) -> int:
    """Run the benches as ``user`` with the rl beside ``python``, or with a wheel of this tree.

    ``nice``: of all contestants alike; -20 makes a busy machine nearly as good as a quiet one. It is that of a session,
    since the kernel shares processors between sessions first (sched(7), "The autogroup feature").
    """
    place = os.environ.get("RL_TEST_TMP", "/var/tmp")
    with _installed(python) as (chosen, suite), tempfile.TemporaryDirectory(prefix="rl-b", dir=place) as disk:
        os.chmod(disk, 0o755)
        os.mkdir(mounted := f"{disk}/d")
        with open(f"{disk}/image", "wb") as image:
            image.truncate(_DISK)
        account = pwd.getpwnam(user)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {
            "HOME": account.pw_dir,
            "USER": user,
            "PATH": f"{os.path.dirname(chosen)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "RL_TEST_TMP": mounted,
            READER: str(theirs.fileno()),
            **{key: os.environ[key] for key in ("RL_TEST_CACHE",) if key in os.environ},
        }
        command = (
            *("setsid", "--wait", "unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", _ENTER, user, f"{disk}/image", mounted, str(nice)),
        )
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
