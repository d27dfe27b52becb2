"""Names and ids of containers."""

from __future__ import annotations

import re

import pytest

from rootless.container import names
from rootless.errors import UsageError


def test_ids_are_64_digits_and_their_short_form_no_number() -> None:
    for _ in range(200):
        id_ = names.new_id()
        assert re.fullmatch("[0-9a-f]{64}", id_)
        assert not id_[:12].isdigit()


def test_suggestions_are_two_words_and_later_a_digit() -> None:
    for _ in range(200):
        assert re.fullmatch("[a-z]+_[a-z]+", names.suggest(0))
        assert re.fullmatch("[a-z]+_[a-z]+[0-9]", names.suggest(1))
        assert names.check(names.suggest(1))


@pytest.mark.parametrize("name", ["ab", "a.b", "A_b-c.9", "0x", "/web", "a" * 200])
def test_a_name_as_docker_allows_it(name: str) -> None:
    assert names.check(name) == name.removeprefix("/")


@pytest.mark.parametrize(
    "name", ["", "a", "/", "-ab", ".ab", "_ab", "a b", "a/b", "ä1", "a\nb", "a" * 201, "..", "a\0b"]
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(UsageError, match="Invalid container name"):
        names.check(name)
