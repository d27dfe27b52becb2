"""The holder: one sleeping process per user that keeps the outer user and network namespaces.

newuidmap runs only when it starts. Every container's user namespace is a child of the holder's:
that makes set-up quick and lets one network join several containers.
"""

from __future__ import annotations

import _signal
import errno
import fcntl
import os
import select

from idmap import apply
from idmap.plan import HELPERS, ONE
from rootless import codec
from rootless.errors import HostUnsupported
from rootless.linux import caps, fsid, ns, pidfd, prctl
from rootless.linux import fd as fds
from rootless.linux.inotify import IN_DELETE, IN_DELETE_SELF, IN_MOVED_TO, Watch
from rootless.paths import ensure_private
from rootless.runtime import diagnose
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import NoReturn

    from idmap.plan import HolderPlan, HostIds


_ATTEMPTS = 3


class _Killed(Exception):
    """The new holder was killed before it was on record."""


class Holder(NamedTuple):
    """Descriptors of the holder's namespaces; whoever asked for them closes them."""

    pid: int
    user: int
    net: int
    is_new: bool = False

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self.user)
        os.close(self.net)


def ensure(runtime: str, host: HostIds, plan: HolderPlan) -> Holder:
    """Return the running holder for the plan's map, starting one if there is none.

    ``is_new`` tells which of the two it was.

    Raises:
        HostUnsupported: this host forbids user namespaces, or refuses the map.
    """
    path = f"{runtime}/holder-{plan.maps.fingerprint()}.json"
    found = _open(path)
    if found is not None:
        return found
    ensure_private(runtime)  # it may have been deleted at log-out
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(_ATTEMPTS):
            try:
                return _open(path) or _start(path, host, plan)
            except _Killed:
                continue
        raise HostUnsupported("the holder of the user namespace is killed as soon as it starts", hint="see dmesg")
    finally:
        os.close(lock)


def _open(path: str) -> Holder | None:
    try:
        record = codec.load(path)
        pid, started = record["pid"], record["start"]
        if record["boot"] != pidfd.boot_id() or not pidfd.is_alive(pid, started):
            return None
        user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        net = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError, KeyError, TypeError):
        return None
    holder = Holder(pid, user, net)
    if pidfd.is_alive(pid, started):  # still: what was opened is the holder's, not a successor's
        return holder
    holder.close()
    return None


def _start(path: str, host: HostIds, plan: HolderPlan) -> Holder:
    to_parent_read, to_parent_write = os.pipe()
    to_child_read, to_child_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _hold(path, to_parent_write, to_child_read)
    os.close(to_parent_write)
    os.close(to_child_read)
    try:
        _settle(pid, to_parent_read, to_child_write, path, host, plan)
    except BaseException as e:
        os.close(to_child_write)  # it is waiting for us, and ends
        to_child_write = -1
        if os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
            raise _Killed from e
        raise
    finally:
        os.close(to_parent_read)
        if to_child_write >= 0:
            os.close(to_child_write)
    holder = _open(path)
    if holder is None:
        raise _Killed
    return holder._replace(is_new=True)


def _settle(pid: int, from_child: int, to_child: int, path: str, host: HostIds, plan: HolderPlan) -> None:
    """Give the holder its maps and put it on record; unless it hears of that it ends, so that none is lost."""
    answer = os.read(from_child, 16)
    if answer != b"ok":
        raise diagnose.no_user_namespace(int(answer or b"0"))
    _write_maps(pid, host, plan)
    os.write(to_child, b"m")
    if os.read(from_child, 16) != b"held":
        raise HostUnsupported("the holder of the user namespace ended at once")
    record = {"pid": pid, "start": pidfd.start_time(pid), "boot": pidfd.boot_id()}
    with open(f"{path}.new", "w") as file:
        file.write(codec.dumps(record))
    os.rename(f"{path}.new", path)
    os.write(to_child, b"r")


def _write_maps(pid: int, host: HostIds, plan: HolderPlan) -> None:
    if plan.how == HELPERS:
        apply.with_helpers(pid, plan.maps, host.newuidmap, host.newgidmap)
    else:
        apply.directly(pid, plan.maps, deny_setgroups=plan.how == ONE)


def _hold(path: str, to_parent: int, from_parent: int) -> NoReturn:
    try:
        os.setsid()
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        fds.close_all_but((to_parent, from_parent))
        watch = _watch(os.path.dirname(path))
        for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP):
            _signal.signal(number, _signal.SIG_IGN)
        try:
            ns.unshare(ns.CLONE_NEWUSER | ns.CLONE_NEWNET)
        except OSError as e:
            os.write(to_parent, b"%d" % (e.errno or errno.EPERM))
            os._exit(1)
        os.write(to_parent, b"ok")
        if os.read(from_parent, 1) != b"m":
            os._exit(1)
        prctl.set_name("rl-holder")
        os.write(to_parent, b"held")
        if os.read(from_parent, 1) != b"r":
            os._exit(1)
        os.close(to_parent)
        os.close(from_parent)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        _sleep(path, watch)
    finally:
        os._exit(1)


def _watch(directory: str) -> Watch | None:
    try:
        return Watch(directory, IN_DELETE | IN_DELETE_SELF | IN_MOVED_TO)
    except OSError:  # the user's watches are used up
        return None


def _sleep(path: str, watch: Watch | None) -> None:
    """Stay as long as the record names us: where it was deleted (at log-out) nobody could find us again."""
    while watch is None:
        _signal.pause()
    poll = select.poll()
    poll.register(watch.fd, select.POLLIN)
    while _is_on_record(path):
        poll.poll()
        watch.drain()


def _is_on_record(path: str) -> bool:
    try:
        return bool(codec.load(path)["pid"] == os.getpid())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def join(holder: Holder, root: tuple[int, int] | None = None) -> None:
    """Enter the holder's user namespace with the caller's own ids and all capabilities in it (setns(2)).

    ``root``: the host's ids of the namespace's root, given by real root, whose own id does not exist
    there. They become the effective ids, without which no child namespace can be made
    (user_namespaces(7)); the file-system ids stay real root's, so that its directories can be opened.
    """
    if root is not None:
        uid, gid = root
        _, permitted, inheritable = caps.capget()
        os.setresgid(-1, gid, -1)
        fsid.setfsgid(0)
        os.setresuid(-1, uid, -1)
        fsid.setfsuid(0)
        caps.capset(permitted, permitted, inheritable)
    ns.setns(holder.user, ns.CLONE_NEWUSER)


def become_root() -> None:
    """After ``join``: take the ids that the holder's map calls 0, so that files made are container root's.

    For an ordinary user these are the ids it has already.
    """
    try:
        os.setgroups(())
    except PermissionError:  # a one-id map forbids setgroups (user_namespaces(7)); the groups stay
        if open("/proc/self/setgroups").read().strip() != "deny":
            raise
    if os.getgid() != 0 or os.getegid() != 0:
        os.setresgid(0, 0, 0)
    if os.getuid() != 0 or os.geteuid() != 0:
        os.setresuid(0, 0, 0)
