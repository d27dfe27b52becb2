"""Our NamedTuple behaves as the original where we use it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import typing

import pytest

from rootless.typed import NamedTuple


class Ours(NamedTuple):
    """With a default, a property and a method."""

    name: str
    size: int
    tags: tuple[str, ...] = ()

    @property
    def twice(self) -> int:
        return 2 * self.size


class Theirs(typing.NamedTuple):
    name: str
    size: int
    tags: tuple[str, ...] = ()


def test_values_come_by_place_and_by_name() -> None:
    assert Ours("a", 1) == Ours(size=1, name="a") == ("a", 1, ())
    assert Ours("a", 1, tags=("x",)).tags == ("x",)
    assert Ours("a", 4).twice == 8


def test_it_is_equal_to_and_hashes_as_the_original() -> None:
    ours, theirs = Ours("a", 1), Theirs("a", 1)
    assert ours == theirs
    assert hash(ours) == hash(theirs)
    assert ours._fields == theirs._fields
    assert ours._asdict() == theirs._asdict()
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert ours._replace(size=2) == theirs._replace(size=2)
    assert Ours._make(["b", 2, ()]) == Theirs._make(["b", 2, ()])
    assert pickle.loads(pickle.dumps(ours)) == ours


def test_it_is_matched_by_place() -> None:
    match Ours("a", 1):
        case Ours(name, size):
            assert (name, size) == ("a", 1)


def test_fields_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        Ours("a", 1).name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ours("a"),  # type: ignore[call-arg]
        lambda: Ours("a", 1, (), 2),  # type: ignore[call-arg]
        lambda: Ours("a", 1, nothing=3),  # type: ignore[call-arg]
    ],
    ids=["too few", "too many", "unknown"],
)
def test_wrong_values_are_refused(make: typing.Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="Ours"):
        make()


def test_an_unknown_field_is_not_replaced() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Ours("a", 1)._replace(nothing=1)  # type: ignore[call-arg]


def test_it_loads_neither_typing_nor_what_typing_loads() -> None:
    program = "import sys, rootless.typed; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"typing", "re", "enum", "collections"} & set(done.stdout.split())
