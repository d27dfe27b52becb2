"""The ladder of ids: which maps each kind of host gives, and what the one line about it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idmap import plan
from idmap.plan import HostIds, Userns
from idmap.ranges import IdMap, UserMap
from idmap.subid import SubRange
from rootless.errors import UsageError

RANGE = (SubRange(100000, 65536),)
ANN = HostIds(
    "ann", 1000, 1001, RANGE, RANGE, newuidmap="/usr/bin/newuidmap", newgidmap="/usr/bin/newgidmap", taken=RANGE
)
ROOT = HostIds("root", 0, 0, may_map=True, newuidmap="/usr/bin/newuidmap", newgidmap="/usr/bin/newgidmap")


def both(text: str) -> UserMap:
    return UserMap(IdMap.parse(text), IdMap.parse(text))


def test_a_user_with_ranges_is_root_and_the_ranges_follow() -> None:
    held = plan.holder(ANN)
    assert held.maps.uids.text() == "0 1000 1\n1 100000 65536\n"
    assert held.maps.gids.text() == "0 1001 1\n1 100000 65536\n"
    assert (held.how, held.note, held.single) == (plan.HELPERS, None, False)


def test_a_container_of_root_has_the_holders_ids_extent_by_extent() -> None:
    """``0 0 65537`` would span two extents of the holder, which the kernel refuses."""
    made = plan.container(ANN, plan.holder(ANN))
    assert made.maps == both("0 0 1\n1 1 65536")
    assert made.on_host.uids.text() == "0 1000 1\n1 100000 65536\n"
    assert made.user_namespace
    assert made.user is None


def test_several_ranges_follow_each_other() -> None:
    host = ANN._replace(subuids=(SubRange(500000, 1000), SubRange(100000, 65536)))
    assert plan.holder(host).maps.uids.text() == "0 1000 1\n1 500000 1000\n1001 100000 65536\n"


def test_a_range_that_holds_the_callers_own_id_loses_it() -> None:
    host = ANN._replace(subuids=(SubRange(999, 3), SubRange(100000, 65536)))
    assert plan.holder(host).maps.uids.text() == "0 1000 1\n1 999 1\n2 1001 1\n3 100000 65536\n"


def test_a_short_range_is_used_and_said() -> None:
    held = plan.holder(ANN._replace(subgids=(SubRange(100000, 1000),)))
    assert held.maps.gids.count == 1001
    assert held.how == plan.HELPERS
    assert held.note is not None
    assert "'ann' has 1001 ids only" in held.note


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"subuids": (), "subgids": ()},
            "/etc/subuid and /etc/subgid have no range for 'ann': sudo usermod --add-subuids 165536-231071",
        ),
        ({"subgids": ()}, "/etc/subgid has no range for 'ann': sudo usermod"),
        ({"newuidmap": ""}, "newuidmap is missing or not set-user-ID: sudo apt-get install --reinstall uidmap"),
        ({"newgidmap": ""}, "newgidmap is missing"),
        ({"no_new_privs": True}, "no_new_privs is set here"),
    ],
    ids=["no range", "no subgid", "no newuidmap", "no newgidmap", "no_new_privs"],
)
def test_one_id_is_left_where_something_is_missing(changes: dict[str, object], reason: str) -> None:
    host = ANN._replace(**changes)  # type: ignore[arg-type]
    held = plan.holder(host)
    assert held.maps == UserMap(IdMap.parse("0 1000 1"), IdMap.parse("0 1001 1"))
    assert (held.how, held.single) == (plan.ONE, True)
    assert held.note is not None
    assert held.note.startswith(f"one id only, owners of files are recorded: {reason}")
    assert plan.container(host, held).maps == both("0 0 1")


def test_root_uses_its_ranges_and_never_its_own_ids() -> None:
    host = ROOT._replace(subuids=RANGE, subgids=(SubRange(300000, 65536),), taken=RANGE)
    held = plan.holder(host)
    assert held.maps.uids.text() == "0 100000 65536\n"
    assert held.maps.gids.text() == "0 300000 65536\n"
    assert (held.how, held.note) == (plan.DIRECT, None)


def test_root_is_not_mapped_even_where_its_range_says_so() -> None:
    everything = (SubRange(0, 70000),)
    held = plan.holder(ROOT._replace(subuids=everything, subgids=everything))
    assert held.maps == both("0 1 69999")


def test_the_last_rung_can_be_taken_for_any_reason() -> None:
    held = plan.one_id(ANN, "newuidmap failed")
    assert held.single
    assert held.note == "one id only, owners of files are recorded: newuidmap failed"


def test_root_without_a_range_uses_a_free_one_and_says_so() -> None:
    held = plan.holder(ROOT._replace(taken=(SubRange(524288, 65536), SubRange(600000, 10))))
    assert held.maps == both("0 655360 65536")
    assert held.how == plan.DIRECT
    assert held.note is not None
    assert "usermod --add-subuids 655360-720895 --add-subgids 655360-720895 root" in held.note


def test_root_is_told_when_every_range_is_taken() -> None:
    with pytest.raises(UsageError, match="none is free"):
        plan.holder(ROOT._replace(taken=(SubRange(524288, plan.CONTAINER_LAST),)))


def test_root_without_the_capabilities_is_treated_like_anybody() -> None:
    held = plan.holder(ROOT._replace(may_map=False))
    assert held.how == plan.ONE
    assert held.maps == both("0 0 1")


def test_root_of_an_outer_namespace_keeps_the_ids_that_exist_there() -> None:
    outer = both("0 1000 1\n1 100000 65536")
    host = ROOT._replace(current=outer, subuids=RANGE, subgids=RANGE)
    held = plan.holder(host)
    assert held.maps == both("0 0 1\n1 1 65536")
    assert (held.how, held.note) == (plan.DIRECT, None)
    assert plan.container(host, held).maps == held.maps
    assert plan.container(host, held, Userns("host")).user_namespace


def test_root_of_a_namespace_with_one_id_has_one() -> None:
    held = plan.holder(ROOT._replace(current=both("0 1000 1")))
    assert (held.maps, held.how, held.single) == (both("0 0 1"), plan.DIRECT, True)
    assert held.note is not None


def test_a_user_of_an_outer_namespace_gets_only_ids_that_exist_there() -> None:
    ranges = (SubRange(10000, 65536), SubRange(1000000, 5))
    host = ANN._replace(current=both("0 1000 20000\n20000 100000 45536"), subuids=ranges, subgids=ranges)
    held = plan.holder(host)
    assert held.maps.uids.text() == "0 1000 1\n1 10000 10000\n10001 20000 45536\n"
    assert held.maps.uids == held.maps.uids.restrict(host.current.uids)


def test_host_of_root_is_no_user_namespace() -> None:
    host = ROOT._replace(subuids=RANGE, subgids=RANGE)
    made = plan.container(host, plan.holder(host), Userns("host"))
    assert not made.user_namespace
    assert made.maps.uids.to_outside(4711) == 4711


def test_host_of_a_user_is_the_usual_map() -> None:
    held = plan.holder(ANN)
    assert plan.container(ANN, held, Userns("host")) == plan.container(ANN, held)


def test_keep_id_gives_the_caller_its_own_id() -> None:
    held = plan.holder(ANN)
    made = plan.container(ANN, held, Userns("keep-id"))
    assert made.maps.uids.text() == "0 1 1000\n1000 0 1\n1001 1001 64536\n"
    assert made.on_host.uids.text() == "0 100000 1000\n1000 1000 1\n1001 101000 64536\n"
    assert made.on_host.gids.to_outside(1001) == 1001
    assert made.user == (1000, 1001)
    assert made.note is None


def test_keep_id_gives_the_caller_the_id_that_was_asked() -> None:
    made = plan.container(ANN, plan.holder(ANN), Userns("keep-id", 0, 200000))
    assert made.maps.uids.text() == "0 0 1\n1 1 65536\n"
    assert made.maps.gids.text() == "0 1 65536\n200000 0 1\n"
    assert made.user == (0, 200000)


def test_keep_id_with_one_id_is_me_and_says_so() -> None:
    host = ANN._replace(subuids=(), subgids=())
    made = plan.container(host, plan.holder(host), Userns("keep-id"))
    assert made.maps == UserMap(IdMap.parse("1000 0 1"), IdMap.parse("1001 0 1"))
    assert made.note is not None
    assert made.note.startswith("--userns=keep-id is --userns=me here: one id only")


def test_me_is_one_id_whatever_the_host_offers() -> None:
    made = plan.container(ANN, plan.holder(ANN), Userns("me", 33, 34))
    assert made.maps == UserMap(IdMap.parse("33 0 1"), IdMap.parse("34 0 1"))
    assert made.on_host == UserMap(IdMap.parse("33 1000 1"), IdMap.parse("34 1001 1"))
    assert made.on_host.fingerprint() == "one"
    assert plan.container(ANN, plan.holder(ANN), Userns("me")).maps == both("0 0 1")


@pytest.mark.parametrize("kind", ["keep-id", "me"])
def test_real_roots_own_id_is_never_given(kind: str) -> None:
    host = ROOT._replace(subuids=RANGE, subgids=RANGE)
    with pytest.raises(UsageError, match=f"--userns={kind} is for ordinary users"):
        plan.container(host, plan.holder(host), Userns(kind))


ranges = st.lists(st.builds(SubRange, st.integers(0, 3000), st.integers(1, 400)), max_size=5).map(tuple)


@given(ranges, st.integers(0, 3000), st.integers(0, 4000), st.sampled_from(["root", "keep-id", "me", "host"]))
def test_every_plan_is_one_that_the_kernel_takes(
    given_ranges: tuple[SubRange, ...], own: int, wanted: int, kind: str
) -> None:
    host = ANN._replace(uid=own, gid=own, subuids=given_ranges, subgids=given_ranges)
    held = plan.holder(host)
    made = plan.container(host, held, Userns(kind, wanted, wanted))
    assert held.maps.uids.to_outside(0) == own
    assert made.maps.uids == made.maps.uids.restrict(held.maps.uids)
    assert made.on_host == made.maps.compose(held.maps)
    if kind == "keep-id":
        assert made.on_host.uids.to_inside(own) == wanted
        assert made.maps.uids.count == held.maps.uids.count
        others = [r for r in made.maps.uids.ranges if r.inside != wanted]
        assert [r.outside for r in others] == sorted(r.outside for r in others)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Userns("root")),
        ("", Userns("root")),
        ("host", Userns("host")),
        ("keep-id", Userns("keep-id")),
        ("keep-id:uid=5", Userns("keep-id", 5)),
        ("keep-id:gid=6,uid=5", Userns("keep-id", 5, 6)),
        ("me", Userns("me")),
        ("me:uid=33,gid=0", Userns("me", 33, 0)),
    ],
)
def test_modes_are_read(text: str | None, expected: Userns) -> None:
    assert plan.parse_userns(text) == expected


@pytest.mark.parametrize(
    "text", ["private", "host:uid=1", "keep-id:", "keep-id:uid", "keep-id:uid=-1", "keep-id:uid=4294967295", "me:x=1"]
)
def test_other_modes_are_refused_as_docker_does(text: str) -> None:
    with pytest.raises(UsageError) as error:
        plan.parse_userns(text)
    assert error.value.message == "--userns: invalid USER mode"
    assert error.value.exit_code == 125
