"""A copy of a JSON value is as the value is, and shares nothing with it that can change."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from manta_operator.schema.json_copy import json_copy

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def holders(value: Any) -> list[Any]:
    """Every dict and list at and below a value."""
    if not isinstance(value, dict | list):
        return []
    below = value.values() if isinstance(value, dict) else value
    return [value, *(found for item in below for found in holders(item))]


@given(VALUES)
def test_it_is_equal_and_shares_nothing(value: Any) -> None:
    copied = json_copy(value)
    assert copied == value
    assert not {id(each) for each in holders(value)} & {id(each) for each in holders(copied)}


def test_a_part_that_stands_in_two_places_is_copied_for_each() -> None:
    part = {"a": 1}
    copied = json_copy({"one": part, "two": [part]})
    copied["one"]["a"] = 2
    assert copied["two"] == [{"a": 1}]
