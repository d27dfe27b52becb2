"""Maps written for real: by newuidmap as a user with ranges, by the owner with one id, by root, and nested."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from idmap import apply, detect, plan, subid
from idmap.plan import HolderPlan, HostIds, Userns
from idmap.ranges import IdMap, IdRange, UserMap
from rootless.linux import ns, prctl

pytestmark = pytest.mark.namespaces


def forked(body: Callable[[], None]) -> str:
    """Run ``body`` in a forked child; return "" or what it raised."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        except BaseException as e:
            os.write(writer, repr(e).encode()[:4000])
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


def become(user: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    # A process that changed its uid belongs to root in /proc, and newuidmap would refuse it (proc(5)).
    prctl.prctl(prctl.PR_SET_DUMPABLE, 1)


def as_user(user: pwd.struct_passwd | None, body: Callable[[HostIds], None]) -> str:
    """Run ``body`` as ``user``, or as the caller where it is None."""

    def child() -> None:
        if user is not None and user.pw_uid != os.getuid():
            become(user)
        body(detect.gather())

    return forked(child)


def user_with_ranges() -> pwd.struct_passwd:
    """An ordinary user with ranges that the caller is or may become."""
    lines = subid.parse(Path(subid.SUBUID).read_text() if Path(subid.SUBUID).exists() else "").lines
    for line in lines:
        try:
            user = pwd.getpwuid(int(line.owner)) if line.owner.isdigit() else pwd.getpwnam(line.owner)
        except KeyError:
            continue
        if user.pw_uid != 0 and os.getuid() in (0, user.pw_uid):
            return user
    pytest.skip("needs an ordinary user with a line in /etc/subuid")


def in_new_namespace(write: Callable[[int], None], look: Callable[[], None]) -> None:
    """Unshare in a child, let the caller write the maps, then run ``look`` as root in there."""
    ready_r, ready_w = os.pipe()
    go_r, go_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ns.unshare(ns.CLONE_NEWUSER)
            os.write(ready_w, b"1")
            os.close(go_w)
            if os.read(go_r, 1):
                look()
                os._exit(0)
        except BaseException as e:
            os.write(2, repr(e).encode() + b"\n")
        finally:
            os._exit(1)
    os.close(ready_w)
    try:
        if os.read(ready_r, 1) != b"1":
            raise AssertionError("unshare failed")
        write(pid)
        os.write(go_w, b"1")
    finally:
        for fd in (ready_r, go_r, go_w):
            os.close(fd)
        status = os.waitpid(pid, 0)[1]
    assert status == 0, "the child saw something else"


def write_holder(pid: int, host: HostIds, held: HolderPlan) -> None:
    if held.how == plan.HELPERS:
        apply.with_helpers(pid, held.maps, host.newuidmap, host.newgidmap)
    else:
        apply.directly(pid, held.maps, deny_setgroups=held.how == plan.ONE)


def maps_of_self() -> UserMap:
    with open("/proc/self/uid_map") as uids, open("/proc/self/gid_map") as gids:
        return UserMap(IdMap.parse(uids.read()), IdMap.parse(gids.read()))


def see_the_maps(held: HolderPlan) -> None:
    see_ids(held, groups=held.how != plan.ONE)


def see_ids(held: HolderPlan, *, groups: bool) -> None:
    assert maps_of_self() == held.maps
    if groups:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def skip_without_namespaces() -> None:
    if said := forked(lambda: ns.unshare(ns.CLONE_NEWUSER)):
        pytest.skip(f"no user namespaces here: {said}")


def test_newuidmap_writes_the_planned_maps() -> None:
    skip_without_namespaces()
    user = user_with_ranges()

    def body(host: HostIds) -> None:
        held = plan.holder(host)
        assert held.how == plan.HELPERS, held.note
        in_new_namespace(lambda pid: write_holder(pid, host, held), lambda: see_the_maps(held))

    assert as_user(user, body) == ""


def test_newuidmap_works_where_dead_children_are_ignored() -> None:
    """With SIGCHLD ignored there is no exit status to wait for (wait(2))."""
    skip_without_namespaces()
    user = user_with_ranges()

    def body(host: HostIds) -> None:
        held = plan.holder(host)

        def write(pid: int) -> None:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            write_holder(pid, host, held)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

        in_new_namespace(write, lambda: see_the_maps(held))

    assert as_user(user, body) == ""


def test_a_refusal_of_newuidmap_is_explained() -> None:
    skip_without_namespaces()
    user = user_with_ranges()

    def body(host: HostIds) -> None:
        foreign = IdMap((IdRange(0, 1, 5),))
        fds = len(os.listdir("/proc/self/fd"))

        def write(pid: int) -> None:
            try:
                apply.with_helpers(pid, UserMap(foreign, foreign), host.newuidmap, host.newgidmap)
            except apply.MapsRefused as e:
                assert e.message.startswith("newuidmap refused the id map: uid range [0-5) -> [1-6) not allowed")
                assert e.hint is not None
                assert "--add-subuids" in e.hint
            else:
                raise AssertionError("it was accepted")

        in_new_namespace(write, lambda: None)
        assert len(os.listdir("/proc/self/fd")) == fds

    assert as_user(user, body) == ""


def test_a_user_without_ranges_maps_its_own_id() -> None:
    skip_without_namespaces()

    def body(host: HostIds) -> None:
        held = plan.holder(host._replace(subuids=(), subgids=()))
        assert held.how == plan.ONE
        in_new_namespace(lambda pid: write_holder(pid, host, held), lambda: see_the_maps(held))

    assert as_user(user_with_ranges() if os.getuid() == 0 else None, body) == ""


def test_root_maps_a_range_and_is_not_in_it() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    skip_without_namespaces()

    def body(host: HostIds) -> None:
        held = plan.holder(host)
        if not host.initial or not host.may_map:
            return
        assert held.maps.uids.to_inside(0) is None
        in_new_namespace(lambda pid: write_holder(pid, host, held), lambda: see_the_maps(held))

    assert as_user(None, body) == ""


@pytest.mark.parametrize("kind", ["root", "keep-id", "me"])
def test_a_containers_maps_are_written_from_within_the_holder(kind: str) -> None:
    """The child of the holder gets its maps from the holder's root, without newuidmap."""
    skip_without_namespaces()
    user = user_with_ranges()

    def body(host: HostIds) -> None:
        held = plan.holder(host)
        made = plan.container(host, held, Userns(kind, 33, 34) if kind != "root" else Userns())

        def child() -> None:
            assert maps_of_self().uids.to_outside(made.maps.uids.ranges[0].inside) is not None
            assert maps_of_self() == made.maps
            uid, gid = made.user or (0, 0)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)

        def holder() -> None:
            see_the_maps(held)
            prctl.prctl(prctl.PR_SET_DUMPABLE, 1)
            in_new_namespace(lambda pid: apply.directly(pid, made.maps, deny_setgroups=False), child)

        in_new_namespace(lambda pid: write_holder(pid, host, held), holder)

    assert as_user(user, body) == ""


@pytest.mark.parametrize("single", [False, True], ids=["ranges", "one id"])
def test_a_root_inside_of_a_namespace_keeps_its_ids(single: bool) -> None:
    """rl started inside of another container: the ids that exist there are enough."""
    skip_without_namespaces()
    user = user_with_ranges()

    def body(host: HostIds) -> None:
        outer = plan.one_id(host, "asked") if single else plan.holder(host)

        def inside() -> None:
            see_the_maps(outer)
            prctl.prctl(prctl.PR_SET_DUMPABLE, 1)
            nested = detect.gather()
            assert (nested.uid, nested.initial, nested.may_map) == (0, False, True)
            held = plan.holder(nested)
            assert held.how == plan.DIRECT
            assert held.maps.uids.count == outer.maps.uids.count
            assert held.single == single
            in_new_namespace(lambda pid: write_holder(pid, nested, held), lambda: see_ids(held, groups=not single))

        in_new_namespace(lambda pid: write_holder(pid, host, outer), inside)

    assert as_user(user, body) == ""


def test_a_map_that_the_kernel_refuses_is_an_error_that_names_the_file() -> None:
    skip_without_namespaces()

    def body(host: HostIds) -> None:
        strange = UserMap(IdMap((IdRange(0, 12345, 1),)), IdMap((IdRange(0, host.gid, 1),)))

        def write(pid: int) -> None:
            with pytest.raises(apply.MapsRefused, match=f"cannot write /proc/{pid}/uid_map: Operation not permitted"):
                apply.directly(pid, strange, deny_setgroups=True)

        in_new_namespace(write, lambda: None)

    assert as_user(user_with_ranges() if os.getuid() == 0 else None, body) == ""


def test_the_machine_is_read_as_its_tools_show_it() -> None:
    host = detect.gather()
    assert (host.uid, host.gid) == (os.geteuid(), os.getegid())
    assert host.current == maps_of_self()
    if host.newuidmap:
        assert os.access(host.newuidmap, os.X_OK)
