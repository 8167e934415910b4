"""The page of all fields that is made from the CRD."""

from typing import Any

import pytest

from api_reference import kind_of, reference

CRD = {
    "spec": {
        "group": "manta.dev",
        "names": {"kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "x-kubernetes-validations": [{"rule": "true", "message": "the name is too long"}],
                        "properties": {
                            "spec": {
                                "required": ["model"],
                                "properties": {
                                    "model": {"type": "string", "description": "Which | model."},
                                    "args": {
                                        "type": "array",
                                        "default": [],
                                        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                                        "x-kubernetes-validations": [{"rule": "true", "message": "no such flag"}],
                                    },
                                },
                            },
                            "status": {"properties": {"plan": {"type": "string"}}},
                        },
                    }
                },
            }
        ],
    }
}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "enum": ["a", "b"]}, "`a` or `b`"),
        ({"type": "integer", "minimum": 1}, "integer, at least 1"),
        ({"type": "integer", "minimum": 0, "maximum": 9}, "integer, 0 to 9"),
        ({"type": "array", "items": {"type": "string"}}, "list of strings"),
        ({"type": "array", "items": {"enum": ["a"]}}, "list of `a`"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "map of strings"),
        ({"x-kubernetes-int-or-string": True}, "integer or string"),
    ],
)
def test_kind(schema: dict[str, Any], words: str) -> None:
    assert kind_of(schema) == words


def test_page_has_fields_rules_and_status() -> None:
    page = reference(CRD, "crds/thing.yaml").splitlines()
    assert page[0] == "# Thing: all fields"
    assert "| `spec.model` | string | **required** | Which \\| model. |" in page
    assert "| `spec.args` | list of objects | `[]` |  |" in page
    assert "| `spec.args[].name` | string |  |  |" in page
    assert "- `the object`: the name is too long" in page
    assert "- `spec.args`: no such flag" in page
    assert "| `status.plan` | string |  |  |" in page
