"""A spec is checked before anything is loaded, whatever it was made from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearn_core.errors import InputError
from unlearn_core.runs.spec import RunSpec

_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers())
_keys = st.sampled_from([*RunSpec().to_json(), "stpes", ""])


def test_a_spec_survives_json() -> None:
    spec = RunSpec(method="npo", settings={"beta": 0.1}, steps=3, columns={"input": "q"})
    assert RunSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", ""),
        ("target", 5),
        ("data", None),
        ("method", " "),
        ("steps", 0),
        ("steps", 2.0),
        ("steps", True),
        ("steps", 10**9),
        ("seed", -1),
        ("seed", "0"),
        ("adapter", "both"),
        ("settings", []),
        ("settings", {1: 2}),
        ("columns", "input=q"),
        ("retain_data", 7),
        ("save", "yes"),
        ("name", None),
    ],
)
def test_a_wrong_value_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        RunSpec.from_json({field: value})
    assert caught.value.field == field


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_keys, _values | st.dictionaries(st.text(max_size=3), _values)) | _values)
def test_any_json_is_a_spec_or_a_message(record: Any) -> None:
    try:
        spec = RunSpec.from_json(record)
    except InputError:
        return
    assert RunSpec.from_json(spec.to_json()) == spec
