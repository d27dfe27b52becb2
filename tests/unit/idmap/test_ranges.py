"""Id maps as functions: what composing, inverting and restricting them may and may not change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idmap.ranges import LIMIT, IdMap, IdRange, UserMap


@st.composite
def id_maps(draw: st.DrawFn, limit: int = 300) -> IdMap:
    """A map of up to six ranges below ``limit``, so small that every id can be tried."""
    lengths = draw(st.lists(st.integers(1, 30), max_size=6))
    spare = limit - sum(lengths)
    order = draw(st.permutations(range(len(lengths))))

    def starts(sequence: list[int]) -> dict[int, int]:
        gaps = draw(st.lists(st.integers(0, spare // 8), min_size=len(lengths), max_size=len(lengths)))
        at, found = 0, {}
        for gap, index in zip(gaps, sequence, strict=True):
            at += gap
            found[index] = at
            at += lengths[index]
        return found

    inside, outside = starts(list(range(len(lengths)))), starts(list(order))
    return IdMap(IdRange(inside[i], outside[i], lengths[i]) for i in range(len(lengths)))


def as_dict(map_: IdMap) -> dict[int, int]:
    return {r.inside + i: r.outside + i for r in map_.ranges for i in range(r.length)}


@given(id_maps(), id_maps())
def test_composing_maps_is_composing_functions(inner: IdMap, outer: IdMap) -> None:
    composed = inner.compose(outer)
    outer_ids = as_dict(outer)
    assert as_dict(composed) == {i: outer_ids[o] for i, o in as_dict(inner).items() if o in outer_ids}


@given(id_maps(), id_maps(), id_maps())
def test_composing_is_associative(a: IdMap, b: IdMap, c: IdMap) -> None:
    assert as_dict(a.compose(b).compose(c)) == as_dict(a.compose(b.compose(c)))


@given(id_maps())
def test_inverting_twice_changes_nothing(map_: IdMap) -> None:
    assert map_.invert().invert() == map_
    assert as_dict(map_.invert()) == {o: i for i, o in as_dict(map_).items()}


@given(id_maps(), id_maps())
def test_restricting_only_removes_ids(map_: IdMap, outer: IdMap) -> None:
    exists = as_dict(outer).keys()
    assert as_dict(map_.restrict(outer)) == {i: o for i, o in as_dict(map_).items() if o in exists}


@given(id_maps(), id_maps())
def test_restricted_extents_lie_within_one_outer_extent(map_: IdMap, outer: IdMap) -> None:
    """What the kernel demands of a child's map (user_namespaces(7))."""
    for mine in map_.restrict(outer).ranges:
        assert any(
            theirs.inside <= mine.outside and mine.outside + mine.length <= theirs.inside + theirs.length
            for theirs in outer.ranges
        )


@given(id_maps())
def test_look_ups_agree_with_the_ranges(map_: IdMap) -> None:
    ids = as_dict(map_)
    back = {o: i for i, o in ids.items()}
    for id_ in range(310):
        assert map_.to_outside(id_) == ids.get(id_)
        assert map_.to_inside(id_) == back.get(id_)
    for range_ in map_.ranges:
        assert range_.to_outside(range_.inside) == range_.outside
        assert range_.to_inside(range_.outside + range_.length - 1) == range_.inside + range_.length - 1
        assert range_.to_outside(range_.inside - 1) is None
    assert map_.count == len(ids)


@given(id_maps())
def test_the_text_reads_back(map_: IdMap) -> None:
    assert IdMap.parse(map_.text()) == map_


@given(id_maps())
def test_merging_keeps_the_function_and_the_fingerprint(map_: IdMap) -> None:
    merged = map_.merged()
    singles = IdMap(IdRange(i, o, 1) for i, o in as_dict(map_).items())
    assert as_dict(merged) == as_dict(map_)
    assert singles.merged() == merged
    assert UserMap(singles, singles).fingerprint() == UserMap(map_, map_).fingerprint()


def test_the_kernels_columns_are_read() -> None:
    assert IdMap.parse("         0       1000          1\n         1     100000      65536\n").ranges == (
        IdRange(0, 1000, 1),
        IdRange(1, 100000, 65536),
    )
    assert IdMap.parse("0 0 4294967295").to_outside(LIMIT - 1) == LIMIT - 1


@pytest.mark.parametrize(
    "ranges",
    [
        ((0, 0, 0),),
        ((0, 0, -1),),
        ((-1, 0, 1),),
        ((0, 0, LIMIT + 1),),
        ((LIMIT, 0, 1),),
        ((0, 0, 10), (9, 100, 1)),
        ((0, 100, 10), (10, 109, 1)),
    ],
    ids=["empty", "negative length", "negative id", "too long", "no id -1", "overlap inside", "overlap outside"],
)
def test_a_map_that_is_none_is_refused(ranges: tuple[tuple[int, int, int], ...]) -> None:
    with pytest.raises(ValueError, match="id range"):
        IdMap(IdRange(*r) for r in ranges)


@pytest.mark.parametrize("text", ["0 0", "a b c", "0 0 1 1"])
def test_text_that_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        IdMap.parse(text)


def test_a_map_cannot_be_changed_and_can_be_a_key() -> None:
    map_ = IdMap((IdRange(0, 5, 1),))
    with pytest.raises(AttributeError):
        map_.ranges = ()
    assert {map_: 1}[IdMap((IdRange(0, 5, 1),))] == 1
    assert map_ != "0 5 1"


def test_one_id_of_each_kind_is_called_one() -> None:
    one, many = IdMap((IdRange(33, 1000, 1),)), IdMap((IdRange(0, 100000, 65536),))
    assert UserMap(one, one).fingerprint() == "one"
    names = {UserMap(many, many).fingerprint(), UserMap(one, many).fingerprint(), UserMap(many, one).fingerprint()}
    assert len(names) == 3
    assert all(len(name) == 12 for name in names)


def test_fingerprints_stay_as_they_are_on_disk() -> None:
    map_ = IdMap((IdRange(0, 1000, 1), IdRange(1, 100000, 65536)))
    assert UserMap(map_, map_).fingerprint() == "34ae8a1fb47c"
