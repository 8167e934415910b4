"""Every enum, bound, length, required field and list type of the CRD accepts what it should and refuses the rest.

The constraints are found by walking the schema; what each accepts and refuses follows from its own number or set.
"""

import json
from typing import Any

import pytest
from crd_cases import ITEMS, NODES, at, body_with, body_without, problems

FILL = {
    "spec.model.uri": "hf://a/" + "b" * 2000,
    "spec.model.endpoint": "http://" + "a" * 2000,
    "spec.model.adapters[*].uri": "hf://a/" + "b" * 2000,
    "spec.model.adapters[*].endpoint": "http://" + "a" * 2000,
    "spec.model.cache.hostPath": "/" + "a" * 2000,
    "spec.accelerator.resource": "a/" + "b" * 2000,
    "spec.engine.args[*]": "--a=" + "b" * 2000,
    "spec.engine.speculative.model.endpoint": "http://" + "a" * 2000,
    "spec.engine.speculative.model.uri": "hf://a/" + "b" * 2000,
    "spec.router.cache.size": "1." + "1" * 2000,
    "spec.router.tracing.endpoint": "http://" + "a" * 2000,
}
"""Texts that other rules accept, cut to the length that is tried; elsewhere it is a row of `a`."""
ENDS = {"spec.router.cache.size": "Mi"}
"""How they have to end."""


def having(*words: str) -> list[Any]:
    return [
        pytest.param(path, node, id=f"{path}") for path, node in NODES.items() if all(word in node for word in words)
    ]


def text(path: str, length: int) -> str:
    end = ENDS.get(path, "")
    return FILL.get(path, "a" * length)[: length - len(end)] + end


@pytest.mark.parametrize(("path", "node"), having("enum"))
def test_enum(path: str, node: dict[str, Any]) -> None:
    for value in node["enum"]:
        assert problems(body_with(path, value)) == []
    supported = ", ".join(f'"{value}"' for value in node["enum"])
    expected = f'{at(path)}: Unsupported value: "bogus": supported values: {supported}'
    assert expected in problems(body_with(path, "bogus"))


@pytest.mark.parametrize(("path", "node"), having("minimum"))
def test_minimum(path: str, node: dict[str, Any]) -> None:
    low = node["minimum"]
    assert problems(body_with(path, low)) == []
    refused = f"{at(path)}: Invalid value: {low - 1}: {at(path)} in body should be greater than or equal to {low}"
    assert problems(body_with(path, low - 1))[0] == refused  # a rule may have more to say about it


@pytest.mark.parametrize(("path", "node"), having("maximum"))
def test_maximum(path: str, node: dict[str, Any]) -> None:
    high = node["maximum"]
    assert problems(body_with(path, high)) == []
    refused = f"{at(path)}: Invalid value: {high + 1}: {at(path)} in body should be less than or equal to {high}"
    assert problems(body_with(path, high + 1)) == [refused]


@pytest.mark.parametrize(("path", "node"), having("maxLength", "type"))
def test_max_length(path: str, node: dict[str, Any]) -> None:
    longest = node["maxLength"]
    assert problems(body_with(path, text(path, longest))) == []
    refused = f"{at(path)}: Too long: may not be more than {longest} characters"
    assert problems(body_with(path, text(path, longest + 1))) == [refused]


@pytest.mark.parametrize(("path", "node"), having("maxLength", "x-kubernetes-int-or-string"))
def test_max_length_of_quantities(path: str, node: dict[str, Any]) -> None:
    assert problems(body_with(path, "1" * node["maxLength"])) == []
    refused = f"{at(path)}: Too long: may not be more than {node['maxLength']} characters"
    assert problems(body_with(path, "1" * (node["maxLength"] + 1))) == [refused]


@pytest.mark.parametrize(("path", "node"), having("minLength"))
def test_min_length(path: str, node: dict[str, Any]) -> None:
    assert node["minLength"] == 1
    refused = f'{at(path)}: Invalid value: "": {at(path)} in body should be at least 1 chars long'
    assert refused in problems(body_with(path, ""))
    assert problems(body_with(path, FILL.get(path, "a")[:9])) == []


@pytest.mark.parametrize(("path", "node"), having("maxItems"))
def test_max_items(path: str, node: dict[str, Any]) -> None:
    most = node["maxItems"]
    assert problems(body_with(path, items(path, most))) == []
    refused = f"{at(path)}: Too many: {most + 1}: must have at most {most} items"
    assert problems(body_with(path, items(path, most + 1))) == [refused]


@pytest.mark.parametrize(("path", "node"), having("maxProperties"))
def test_max_properties(path: str, node: dict[str, Any]) -> None:
    most, value = node["maxProperties"], "" if node["additionalProperties"]["type"] == "string" else 1
    assert problems(body_with(path, {f"k{i}": value for i in range(most)})) == []
    refused = f"{at(path)}: Too many: {most + 1}: must have at most {most} items"
    assert problems(body_with(path, {f"k{i}": value for i in range(most + 1)})) == [refused]


@pytest.mark.parametrize(
    "path", [f"{path}.{name}".lstrip(".") for path, node in NODES.items() for name in node.get("required", ())]
)
def test_required(path: str) -> None:
    assert problems(body_without(path)) == [f"{at(path)}: Required value"]


@pytest.mark.parametrize(("path", "node"), having("x-kubernetes-list-type"))
def test_list_type(path: str, node: dict[str, Any]) -> None:
    one = items(path, 1)[0]
    keys = node.get("x-kubernetes-list-map-keys")
    shown = json.dumps({key: one[key] for key in keys} if keys else one, separators=(",", ":"))
    assert problems(body_with(path, [one, one])) == [f"{at(path)}[1]: Duplicate value: {shown}"]


@pytest.mark.parametrize(("path", "node"), having("format"))
def test_format(path: str, node: dict[str, Any]) -> None:
    assert node["format"] == "date-time"
    assert problems(body_with(path, "2026-11-21T04:29:57Z")) == []
    refused = f'{at(path)}: Invalid value: "today": {at(path)} in body must be of type date-time: "today"'
    assert problems(body_with(path, "today")) == [refused]


TYPED = [case for case in having("type") if case.id.startswith(("spec", "status"))]


@pytest.mark.parametrize(("path", "node"), TYPED)
def test_type(path: str, node: dict[str, Any]) -> None:
    wrong, name = ("x", "string") if node["type"] != "string" else (True, "boolean")
    refused = f'{at(path)}: Invalid value: "{name}": {at(path)} in body must be of type {node["type"]}: "{name}"'
    said = problems(body_with(path, wrong))
    if "format" in node:  # servers read a date before they look at its type
        assert [text.partition(":")[0] for text in said] == [at(path)]
    else:
        assert said[0] == refused  # servers go on: true is also no value of the enum


def items(path: str, count: int) -> list[Any]:
    """Valid and distinct items."""
    if path == "spec.engine.args":
        return [f"--flag-{i}" for i in range(count)]
    if path not in ITEMS:
        return [f"a{i}" for i in range(count)]
    named = ("spec.engine.env", "spec.model.adapters", "spec.router.tenants", "status.adapters")
    key = "type" if path == "status.conditions" else "name" if path in named else ""
    return [ITEMS[path] | ({key: f"A{i}"} if key else {}) for i in range(count)]
