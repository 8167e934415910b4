"""The CRD against its models, its file, and Kubernetes' own limits."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from crd_cases import MINIMAL, NODES

from manta_operator.api.crd import custom_resource_definition, llmdeployment_schema, render
from manta_operator.api.models import LLMDeploymentSpec, parse
from manta_operator.api.rules import RULES
from manta_operator.schema.structural import StructuralSchema

ROOT = Path(__file__).parents[2]


def test_the_file_is_up_to_date() -> None:
    written = (ROOT / "crds" / "manta.dev_llmdeployments.yaml").read_text("utf-8")
    assert written == render(), "run python -m manta_operator.api.crd > crds/manta.dev_llmdeployments.yaml"


def test_the_file_is_small_enough_for_plain_kubectl_apply() -> None:
    # kubectl apply keeps a copy in an annotation, and annotations end at 256 KiB; the YAML is a fifth longer.
    assert len(render().encode()) < 120_000
    assert yaml.safe_load(render()) == custom_resource_definition()


def test_kubernetes_own_schema_accepts_it() -> None:
    kubernetes_validate.validate(custom_resource_definition(), "1.37", strict=True)


def test_the_schemas_defaults_are_the_models_defaults() -> None:
    admitted = parse(llmdeployment_schema().default(MINIMAL)).spec
    unadmitted = LLMDeploymentSpec.model_validate(MINIMAL["spec"])
    assert admitted == unadmitted


def test_admitting_twice_changes_nothing() -> None:
    # GitOps tools compare what they sent with what is stored: a second pass must not move anything.
    schema = llmdeployment_schema()
    once = schema.default(schema.prune(MINIMAL)[0])
    assert schema.default(schema.prune(once)[0]) == once


def test_every_field_is_described() -> None:
    undescribed = [path for path, node in NODES.items() if "description" not in node and is_field(path)]
    assert undescribed == []


def test_everything_rules_walk_over_is_bounded() -> None:
    # The API server estimates the cost of a rule from these bounds, and refuses a CRD that could be expensive.
    unbounded = [path for path, node in NODES.items() if under_rules(path) and not is_bounded(node)]
    assert unbounded == []


def test_rules_can_judge_the_bare_defaults() -> None:
    # API servers try rules on a default before the defaults inside it are filled in, and refuse the CRD (seen on 1.36).
    ruled = [node for node in NODES.values() if "x-kubernetes-validations" in node and "default" in node]
    assert ruled
    for node in ruled:
        holder = StructuralSchema({"type": "object", "properties": {"x": node}})
        assert [str(error) for error in holder.validate({"x": node["default"]})] == []


def test_a_rule_that_cannot_judge_its_bare_default_is_seen() -> None:
    rule = {"rule": "self.a == 1", "message": "no"}
    node = {"type": "object", "x-kubernetes-validations": [rule], "properties": {"a": {"type": "integer"}}}
    assert StructuralSchema({"type": "object", "properties": {"x": node}}).validate({"x": {}})


def test_messages_hold_no_numbers() -> None:
    # To the cost estimate of the API server, string(number) has no bound: it refuses the whole CRD (seen on 1.36).
    costly = [rule.message_expression for rules in RULES.values() for rule in rules]
    assert [text for text in costly if "string(" in text] == []


def test_messages_read_no_field_of_what_they_have_filtered() -> None:
    # The same estimator forgets how long the texts of such an object may be; of a filtered list of texts it does not.
    costly = [rule.message_expression for rules in RULES.values() for rule in rules]
    assert [text for text in costly if re.search(r"\]\.\w", text)] == []


def test_scale_and_status_subresources_point_at_fields_that_exist() -> None:
    version = custom_resource_definition()["spec"]["versions"][0]
    assert version["subresources"]["status"] == {}
    for path in version["subresources"]["scale"].values():
        assert path.lstrip(".") in NODES
    for column in version["additionalPrinterColumns"]:
        plain = column["jsonPath"].replace("[?(@.type=='Available')]", "[*]").replace("[?(@.type=='Ready')]", "[*]")
        assert plain.lstrip(".") in NODES or plain == ".metadata.creationTimestamp"


def test_rules_stand_where_the_schema_has_a_place_for_them() -> None:
    for path, rules in RULES.items():
        assert [rule.manifest() for rule in rules] == NODES[path]["x-kubernetes-validations"]


def is_field(path: str) -> bool:
    return bool(path) and not path.endswith("[*]") and not path.startswith("metadata")


def under_rules(path: str) -> bool:
    return any(rule and path.startswith(rule) and "." in rule for rule in RULES)


def is_bounded(node: dict[str, Any]) -> bool:
    kind = node.get("type")
    needed = {"string": ("maxLength", "enum"), "array": ("maxItems",)}.get(str(kind), ())
    if kind == "object" and "additionalProperties" in node:
        needed = ("maxProperties",)
    return not needed or any(word in node for word in needed)
