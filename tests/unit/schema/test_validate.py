"""Validation of values and CEL rules: every error with the words and the path of an API server."""

from typing import Any

import pytest

from manta_operator.schema.cel_program import CelProgram, bind
from manta_operator.schema.structural import StructuralSchema


def said(schema: dict[str, Any], value: Any, old: Any = None) -> list[str]:
    """What is said about `{a: value}`."""
    whole = StructuralSchema({"type": "object", "properties": {"a": schema}})
    return [str(error) for error in whole.validate({"a": value}, None if old is None else {"a": old})]


def rule(text: str, **more: Any) -> dict[str, Any]:
    return {"x-kubernetes-validations": [{"rule": text, "message": "no"} | more]}


ENTRY = {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}, "v": {"type": "integer"}}}
LIST_MAP = {
    "type": "array",
    "items": ENTRY,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["n"],
}
IN_BODY = "a in body"

VALUES = {
    "text": ({"type": "string"}, "x", []),
    "no text": ({"type": "string"}, 1, [f'a: Invalid value: "integer": {IN_BODY} must be of type string: "integer"']),
    "a boolean is no integer": (
        {"type": "integer"},
        True,
        [f'a: Invalid value: "boolean": {IN_BODY} must be of type integer: "boolean"'],
    ),
    "an integer is a number": ({"type": "number"}, 1, []),
    "an integral number is an integer": ({"type": "integer"}, 1.0, []),
    "a fraction is no integer": (
        {"type": "integer"},
        1.5,
        [f'a: Invalid value: "number": {IN_BODY} must be of type integer: "number"'],
    ),
    "null": ({"type": "string"}, None, [f'a: Invalid value: "null": {IN_BODY} must be of type string: "null"']),
    "nullable": ({"type": "string", "nullable": True}, None, []),
    "int-or-string takes a boolean": (
        {"x-kubernetes-int-or-string": True},
        True,
        [f'a: Invalid value: "boolean": {IN_BODY} must be of type integer,string: "boolean"'],
    ),
    "enum": (
        {"type": "string", "enum": ["x", "y"]},
        "z",
        ['a: Unsupported value: "z": supported values: "x", "y"'],
    ),
    "exclusive minimum": (
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
        1,
        [f"a: Invalid value: 1: {IN_BODY} should be greater than 1"],
    ),
    "multiple": (
        {"type": "integer", "multipleOf": 2},
        3,
        [f"a: Invalid value: 3: {IN_BODY} should be a multiple of 2"],
    ),
    "int32": (
        {"type": "integer", "format": "int32"},
        2**31,
        [f"a: Invalid value: 2147483648: {IN_BODY} must be of type int32: 2147483648"],
    ),
    "int64 holds more": ({"type": "integer", "format": "int64"}, 2**31, []),
    "a pattern does not end before a newline": (
        {"type": "string", "pattern": "^a$"},
        "a\n",
        [f"a: Invalid value: \"a\\n\": {IN_BODY} should match '^a$'"],
    ),
    "a pattern is not anchored": ({"type": "string", "pattern": "b"}, "abc", []),
    "date-time": ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00.5+01:00", []),
    "date-time without a zone": (
        {"type": "string", "format": "date-time"},
        "2026-01-01T00:00:00",
        [
            f'a: Invalid value: "2026-01-01T00:00:00": {IN_BODY} must be of type date-time: "2026-01-01T00:00:00"',
        ],
    ),
    "duplicates in a set": (
        {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        ["x", "y", "x"],
        ['a[2]: Duplicate value: "x"'],
    ),
    "duplicates in a list without a type": ({"type": "array", "items": {"type": "string"}}, ["x", "x"], []),
    "duplicate keys": (LIST_MAP, [{"n": "x", "v": 1}, {"n": "x", "v": 2}], ['a[1]: Duplicate value: {"n":"x"}']),
    "every error of an object": (
        ENTRY,
        {"v": "x"},
        ["a.n: Required value", 'a.v: Invalid value: "string": a.v in body must be of type integer: "string"'],
    ),
    "anyOf": (
        {"type": "string", "anyOf": [{"pattern": "^a"}, {"maxLength": 1}]},
        "bb",
        [f'a: Invalid value: "bb": {IN_BODY} must validate at least one schema (anyOf)'],
    ),
    "oneOf": (
        {"type": "string", "oneOf": [{"pattern": "^a"}, {"maxLength": 1}]},
        "a",
        [f'a: Invalid value: "a": {IN_BODY} must validate one and only one schema (oneOf)'],
    ),
    "not": (
        {"type": "string", "not": {"enum": ["a"]}},
        "a",
        [f'a: Invalid value: "a": {IN_BODY} must not validate the schema (not)'],
    ),
}


@pytest.mark.parametrize(("schema", "value", "expected"), VALUES.values(), ids=VALUES)
def test_values(schema: dict[str, Any], value: Any, expected: list[str]) -> None:
    assert said(schema, value) == expected


OBJECT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "in": {"type": "integer"}, "a-b": {"type": "integer"}},
}

RULES = {
    "holds": ({"type": "integer"} | rule("self > 1"), 2, []),
    "fails": ({"type": "integer"} | rule("self > 1"), 1, ['a: Invalid value: no']),
    "absent fields": (OBJECT | rule("!has(self.x) || self.x > 1"), {}, []),
    "reserved and dashed names": (OBJECT | rule("self.__in__ == 1 && self.a__dash__b == 2"), {"in": 1, "a-b": 2}, []),
    "fieldPath": (OBJECT | rule("self.x > 1", fieldPath=".x"), {"x": 1}, ['a.x: Invalid value: no']),
    "reason": (
        OBJECT | rule("has(self.x)", reason="FieldValueRequired", fieldPath=".x"),
        {},
        ["a.x: Required value: no"],
    ),
    "messageExpression": (
        OBJECT | rule("self.x > 1", messageExpression="'not ' + string(self.x)"),
        {"x": 1},
        ['a: Invalid value: not 1'],
    ),
    "messageExpression that fails": (
        OBJECT | rule("has(self.x)", messageExpression="string(self.x)"),
        {},
        ['a: Invalid value: no'],
    ),
    "a rule that cannot be evaluated is an error, not a pass": (
        OBJECT | rule("self.x > 1"),
        {},
        ["a: Invalid value: a.x-kubernetes-validations[0].rule: the rule failed to evaluate: 'x'"],
    ),
    "not run where a field is missing": (ENTRY | rule("self.v > 1"), {"v": 1}, ["a.n: Required value"]),
    "run beside a value out of bounds": (
        {"type": "object", "properties": {"x": {"type": "integer", "maximum": 5}}} | rule("self.x < 0"),
        {"x": 6},
        ["a.x: Invalid value: 6: a.x in body should be less than or equal to 5", 'a: Invalid value: no'],
    ),
    "in items": (
        LIST_MAP | {"items": ENTRY | rule("self.v > 1")},
        [{"n": "x", "v": 2}, {"n": "y", "v": 1}],
        ['a[1]: Invalid value: no'],
    ),
    "in maps": (
        {"type": "object", "additionalProperties": {"type": "integer"} | rule("self > 1")},
        {"k": 1},
        ['a.k: Invalid value: no'],
    ),
    "numbers are doubles": ({"type": "number"} | rule("self + 0.5 > 1.0"), 1, []),
    "find": ({"type": "string"} | rule("self.find('[0-9]+') == '12'"), "a12b", []),
    "date-time": (
        {"type": "string", "format": "date-time"} | rule("self.getFullYear() == 2026"),
        "2026-01-01T00:00:00Z",
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "expected"), RULES.values(), ids=RULES)
def test_rules(schema: dict[str, Any], value: Any, expected: list[str]) -> None:
    assert said(schema, value) == expected


GROWS = {"type": "integer"} | rule("self >= oldSelf")
REFUSED = ["a: Invalid value: no"]

TRANSITIONS = {
    "not run on create": (GROWS, 1, None, []),
    "holds": (GROWS, 2, 1, []),
    "fails": (GROWS, 1, 2, REFUSED),
    "items of a list map are compared by key": (
        LIST_MAP | {"items": ENTRY | rule("self.v >= oldSelf.v")},
        [{"n": "y", "v": 1}, {"n": "x", "v": 1}],
        [{"n": "x", "v": 2}, {"n": "y", "v": 1}],
        ['a[1]: Invalid value: no'],
    ),
    "items of a plain list are not": (
        {"type": "array", "items": {"type": "integer"} | rule("self >= oldSelf")},
        [1],
        [2],
        [],
    ),
    "what did not change may stay wrong": ({"type": "integer", "maximum": 1}, 5, 5, []),
    "what changed must be right": (
        {"type": "integer", "maximum": 1},
        6,
        5,
        ["a: Invalid value: 6: a in body should be less than or equal to 1"],
    ),
    "an unchanged item beside a changed one": (
        LIST_MAP | {"items": ENTRY | rule("self.v > 1")},
        [{"n": "x", "v": 1}, {"n": "y", "v": 3}],
        [{"n": "x", "v": 1}, {"n": "y", "v": 2}],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "old", "expected"), TRANSITIONS.values(), ids=TRANSITIONS)
def test_updates(schema: dict[str, Any], value: Any, old: Any, expected: list[str]) -> None:
    assert said(schema, value, old) == expected


def test_a_field_that_was_not_there_before_has_no_old_self() -> None:
    whole = StructuralSchema({"type": "object", "properties": {"a": GROWS}})
    assert whole.validate({"a": 1}, {"b": 1}) == ()


def test_rules_at_the_root_see_the_name_and_no_labels() -> None:
    name = {"type": "object", "properties": {"name": {"type": "string"}}}
    seen = "self.metadata.name == 'x' && !has(self.metadata.labels)"
    whole = StructuralSchema({"type": "object", "properties": {"metadata": name}} | rule(seen))
    assert whole.validate({"metadata": {"name": "x", "labels": {"l": "v"}}}) == ()
    assert [error.path for error in whole.validate({"metadata": {"name": "y"}})] == [""]


HALF = "holds half of a surrogate pair, which is no character: write the whole character, or leave it out"
HALVES = {
    "a text": ({"args": ["x", "\ud800"]}, f"a.args[1]: Invalid value: {HALF}"),
    "a key": ({"labels": {"k\udfff": "v"}}, f"a.labels[k\\udfff]: Invalid value: the key {HALF}"),
    "under a key": ({"labels": {"k": "\udfff"}}, f"a.labels.k: Invalid value: {HALF}"),
    "where any field may be": ({"free": {"x": [{"y": "\ud800"}]}}, f"a.free.x[0].y: Invalid value: {HALF}"),
}


@pytest.mark.parametrize(("value", "expected"), HALVES.values(), ids=HALVES)
def test_half_a_character_is_named_and_no_rule_is_asked(value: dict[str, Any], expected: str) -> None:
    properties = {
        "args": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    schema = {"type": "object", "properties": properties} | rule("size(self) == 0")
    assert said(schema, value) == [expected]
    assert said(schema, {"args": ["\U0001f600"]}) == ["a: Invalid value: no"]


def test_an_error_about_half_a_character_can_be_printed() -> None:
    said_of_it = said({"type": "string", "pattern": "^x$"}, "\ud800")
    assert said_of_it == [f"a: Invalid value: {HALF}", f"a: Invalid value: \"\\ud800\": {IN_BODY} should match '^x$'"]
    assert "\n".join(said_of_it).encode()


def test_several_programs_share_what_they_look_at() -> None:
    variables = bind({"self": {"s": "aab"}, "oldSelf": 3})
    assert [CelProgram("here", text)(variables) for text in ("self.s.find('a+')", "oldSelf + 1", "size(self)")] == [
        "aa",
        4,
        1,
    ]


def test_what_the_evaluator_cannot_take_fails_each_program_under_its_name() -> None:
    variables = bind({"self": "x\ud800"})
    with pytest.raises(ValueError, match=r"^there: the rule failed to evaluate: Failed to convert variable 'self'"):
        CelProgram("there", "self == 'x'")(variables)
