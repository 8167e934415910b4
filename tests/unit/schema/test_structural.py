"""Pruning, defaulting and structural checks, against what a Kubernetes API server does."""

from typing import Any

import pytest

from manta_operator.schema.structural import SchemaError, StructuralSchema


def schema_of(**properties: Any) -> StructuralSchema:
    return StructuralSchema({"type": "object", "properties": properties})


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

PRUNED = {
    "known fields stay": ({"a": TEXT}, {"a": "x"}, {"a": "x"}, ()),
    "unknown fields go": ({"a": TEXT}, {"a": "x", "b": {"c": 1}}, {"a": "x"}, ("b",)),
    "nested": ({"a": an_object(b=TEXT)}, {"a": {"b": "x", "c": 1}}, {"a": {"b": "x"}}, ("a.c",)),
    "in lists": (
        {"a": {"type": "array", "items": an_object(b=TEXT)}},
        {"a": [{"b": "x"}, {"c": 1}]},
        {"a": [{"b": "x"}, {}]},
        ("a[1].c",),
    ),
    "map keys are data": (
        {"a": {"type": "object", "additionalProperties": an_object(b=TEXT)}},
        {"a": {"x.y/z": {"b": "x", "c": 1}}},
        {"a": {"x.y/z": {"b": "x"}}},
        ("a[x.y/z].c",),
    ),
    "preserved": ({"a": FREE}, {"a": {"b": {"c": [1]}}}, {"a": {"b": {"c": [1]}}}, ()),
    "pruned again below a preserved object": (
        {"a": FREE | {"properties": {"b": an_object(c=TEXT)}}},
        {"a": {"b": {"d": 1}, "e": 1}},
        {"a": {"b": {}, "e": 1}},
        ("a.b.d",),
    ),
    "the object's own metadata stays": (
        {"a": TEXT},
        {"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"x": "y"}}},
        {"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"x": "y"}}},
        (),
    ),
    "metadata further down is a field like others": (
        {"a": an_object(b=TEXT)},
        {"a": {"metadata": {}}},
        {"a": {}},
        ("a.metadata",),
    ),
    "embedded objects keep theirs": (
        {"a": FREE | {"x-kubernetes-embedded-resource": True}},
        {"a": {"metadata": {"name": "x"}}},
        {"a": {"metadata": {"name": "x"}}},
        (),
    ),
}


@pytest.mark.parametrize(("properties", "given", "kept", "unknown"), PRUNED.values(), ids=PRUNED)
def test_prune(properties: Any, given: Any, kept: Any, unknown: Any) -> None:
    assert schema_of(**properties).prune(given) == (kept, unknown)


DEFAULTED = {
    "absent": ({"a": TEXT | {"default": "x"}}, {}, {"a": "x"}),
    "present": ({"a": TEXT | {"default": "x"}}, {"a": "y"}, {"a": "y"}),
    "an empty text is present": ({"a": TEXT | {"default": "x"}}, {"a": ""}, {"a": ""}),
    "nested below an absent object without a default": ({"a": an_object(b=NUMBER | {"default": 1})}, {}, {}),
    "nested below a present object": ({"a": an_object(b=NUMBER | {"default": 1})}, {"a": {}}, {"a": {"b": 1}}),
    "inside a default": ({"a": an_object(b=NUMBER | {"default": 1}) | {"default": {}}}, {}, {"a": {"b": 1}}),
    "in lists": (
        {"a": {"type": "array", "items": an_object(b=NUMBER | {"default": 1})}},
        {"a": [{}, {"b": 2}]},
        {"a": [{"b": 1}, {"b": 2}]},
    ),
    "in maps": (
        {"a": {"type": "object", "additionalProperties": an_object(b=NUMBER | {"default": 1})}},
        {"a": {"x": {}}},
        {"a": {"x": {"b": 1}}},
    ),
    "null counts as absent": ({"a": NUMBER | {"default": 1}}, {"a": None}, {"a": 1}),
    "null without a default is dropped": ({"a": NUMBER}, {"a": None}, {}),
    "null where it is allowed stays": ({"a": NUMBER | {"default": 1, "nullable": True}}, {"a": None}, {"a": None}),
}


@pytest.mark.parametrize(("properties", "given", "expected"), DEFAULTED.values(), ids=DEFAULTED)
def test_default(properties: Any, given: Any, expected: Any) -> None:
    before = repr(given)
    assert schema_of(**properties).default(given) == expected
    assert repr(given) == before


def test_defaults_are_not_shared_between_objects() -> None:
    schema = schema_of(a={"type": "array", "items": TEXT, "default": []})
    schema.default({})["a"].append("x")
    assert schema.default({}) == {"a": []}


NOT_STRUCTURAL = {
    "no type": ({"a": {}}, "properties[a].type: required"),
    "unknown type": ({"a": {"type": "text"}}, "'text' is none of"),
    "reference": ({"a": {"type": "object", "$ref": "#/b"}}, "$ref: must not be set"),
    "list without items": ({"a": {"type": "array"}}, "items: required"),
    "closed object": ({"a": {"type": "object", "additionalProperties": False}}, "must not be false"),
    "map and object": ({"a": an_object(b=TEXT) | {"additionalProperties": TEXT}}, "must not be set beside properties"),
    "type inside anyOf": ({"a": NUMBER | {"anyOf": [{"type": "integer"}]}}, "anyOf[0].type: must not be set"),
    "type beside int-or-string": ({"a": TEXT | {"x-kubernetes-int-or-string": True}}, "must be empty beside"),
    "list map without keys": (
        {"a": {"type": "array", "items": an_object(), "x-kubernetes-list-type": "map"}},
        "x-kubernetes-list-map-keys: needed",
    ),
    "optional key without a default": (
        {
            "a": {
                "type": "array",
                "items": an_object(n=TEXT),
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["n"],
            }
        },
        "must be required or have a default",
    ),
    "metadata restricted": ({"metadata": an_object(labels={"type": "object"})}, "only name and generateName"),
    "rule that is no CEL": (
        {"a": TEXT | {"x-kubernetes-validations": [{"rule": "self =="}]}},
        "a.x-kubernetes-validations[0].rule: 'self ==' is not a CEL expression",
    ),
    "rule with a function we lack": (
        {"a": TEXT | {"x-kubernetes-validations": [{"rule": "quantity(self).isGreaterThan(quantity('1'))"}]}},
        "uses isGreaterThan, quantity, which this CEL evaluator lacks",
    ),
    "bad fieldPath": (
        {"a": TEXT | {"x-kubernetes-validations": [{"rule": "true", "fieldPath": "b"}]}},
        "'b' is not a path",
    ),
    "optional old self": (
        {"a": TEXT | {"x-kubernetes-validations": [{"rule": "true", "optionalOldSelf": True}]}},
        "optionalOldSelf: needs CEL's optional types",
    ),
    "bad reason": (
        {"a": TEXT | {"x-kubernetes-validations": [{"rule": "true", "reason": "Bad"}]}},
        "'Bad' is none of FieldValueInvalid",
    ),
}


@pytest.mark.parametrize(("properties", "message"), NOT_STRUCTURAL.values(), ids=NOT_STRUCTURAL)
def test_schemas_that_are_refused(properties: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        schema_of(**properties)
    assert message in str(caught.value)


def test_int_or_string_may_repeat_its_types_as_generators_do() -> None:
    any_of = [{"type": "integer"}, {"type": "string"}]
    schema = schema_of(a={"x-kubernetes-int-or-string": True, "anyOf": any_of})
    assert schema.validate({"a": 1}) == schema.validate({"a": "1"}) == ()
