"""Our way into the JSON accelerator gives what the json module gives."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import codec

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text()
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_written_is_what_json_writes(value: object) -> None:
    assert codec.dumps(value) == json.dumps(value)


@given(VALUES)
def test_what_json_writes_is_read_back(value: object) -> None:
    assert codec.loads(json.dumps(value, indent=1)) == value
    assert codec.loads(json.dumps(value, ensure_ascii=False)) == value


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\\u'))
def test_nonsense_is_refused_where_json_refuses_it(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            codec.loads(text)
    else:
        assert codec.loads(text) == expected


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}'])
def test_numbers_that_are_not_json_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        codec.loads(text)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        codec.loads(b'"\xff"')


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be written"):
        codec.dumps({"a": {1}})


def test_errors_are_told_where_the_json_module_was_never_loaded() -> None:
    """Before Python 3.12 the accelerator itself ends in a SystemError there."""
    program = "from rootless import codec\ntry:\n    codec.loads('{1}')\nexcept ValueError as e:\n    print(e)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "property name" in done.stdout


def test_a_file_is_read(tmp_path: object) -> None:
    path = f"{tmp_path}/x.json"
    with open(path, "w") as file:
        file.write(' {"a": [1]}\n')
    assert codec.load(path) == {"a": [1]}
