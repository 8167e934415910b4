"""Generates the CustomResourceDefinition of LLMDeployment from the models and the rules.

`python -m manta_operator.api.crd > crds/manta.dev_llmdeployments.yaml`; a contract test holds that file up to date.
The command line and the box validate with the same schema.
"""

import sys
from functools import cache
from typing import Any

import yaml

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.api.names import GROUP, KIND, PLURAL, VERSION
from manta_operator.api.rules import RULES
from manta_operator.api.status import LLMDeploymentStatus
from manta_operator.api.structural import structural_schema
from manta_operator.schema.structural import StructuralSchema

_COLUMNS: tuple[tuple[str, str, str, int, str], ...] = (
    ("Model", "string", ".spec.model.uri", 0, "Where the weights come from"),
    ("Ready", "integer", ".status.readyReplicas", 0, "Replicas that serve"),
    ("Desired", "integer", ".status.desiredReplicas", 0, "Replicas that should serve"),
    ("Available", "string", ".status.conditions[?(@.type=='Available')].status", 0, "Whether requests are answered"),
    ("Endpoint", "string", ".status.endpoint", 0, "URL of the API inside the cluster"),
    ("Age", "date", ".metadata.creationTimestamp", 0, ""),
    ("Accelerator", "string", ".spec.accelerator.type", 1, "What the engines compute on"),
    ("Revision", "string", ".status.revision", 1, "Hash of what makes a new engine pod"),
    ("Message", "string", ".status.conditions[?(@.type=='Ready')].message", 1, "Why it is ready or not"),
)

_HEADER = """\
# Generated from the models in operator/manta_operator/api: do not edit.
# python -m manta_operator.api.crd > crds/manta.dev_llmdeployments.yaml
"""


def open_api_schema() -> dict[str, Any]:
    """Return the openAPIV3Schema of LLMDeployment: structural, with defaults, descriptions and CEL rules."""
    schema: dict[str, Any] = {
        "type": "object",
        "description": "A model served by one or more replicas of vLLM behind a load balancer.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{KIND}."},
            # The name is declared because rules point at it with their fieldPath.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural_schema(LLMDeploymentSpec, defaults=True),
            "status": structural_schema(LLMDeploymentStatus, defaults=False),
        },
    }
    for path, rules in RULES.items():
        _descend(schema, path)["x-kubernetes-validations"] = [rule.manifest() for rule in rules]
    return schema


@cache
def llmdeployment_schema() -> StructuralSchema:
    """Return the compiled schema of LLMDeployment (compiled once)."""
    return StructuralSchema(open_api_schema())


def custom_resource_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition as a Kubernetes object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{PLURAL}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "manta"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["all"],
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "shortNames": ["llmd"],
                "singular": KIND.lower(),
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def render() -> str:
    """Return the CustomResourceDefinition as YAML, with a header that says where it comes from."""
    document = custom_resource_definition()
    # Innermost maps and lists in one line each, and long lines: a line for each would be a fifth more.
    return _HEADER + yaml.safe_dump(document, sort_keys=False, width=200, allow_unicode=True, default_flow_style=None)


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
        "schema": {"openAPIV3Schema": open_api_schema()},
        "subresources": {
            "scale": {
                "labelSelectorPath": ".status.selector",
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
            },
            "status": {},
        },
    }


def _column(name: str, kind: str, path: str, priority: int, description: str) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if description:
        column["description"] = description
    return column | ({"priority": priority} if priority else {})


def _descend(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the part of `schema` at `path`, for example `spec.engine.env[*]`."""
    node: Any = schema
    for step in path.replace("[*]", ".[*]").split(".") if path else ():
        node = node["items"] if step == "[*]" else node["properties"][step]
    if not isinstance(node, dict):
        raise TypeError(f"{path} is no schema")
    return node


def main() -> None:
    """Print the CustomResourceDefinition."""
    sys.stdout.write(render())


if __name__ == "__main__":
    main()
