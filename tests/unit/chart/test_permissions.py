"""The operator's permissions: no wildcard, exactly what the code does, and no less than what it grants."""

import re

import pytest
from helm import ROOT, render
from make import deployment

from manta_operator.api import names
from manta_operator.builders.access import role
from manta_operator.controller import permissions
from manta_operator.controller.kinds import CHILD_KINDS

PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "HTTPRoute": "httproutes",
}


def allowed(rules: list[dict]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


NAMESPACED = allowed(permissions.rules(permissions.NAMESPACED))


def test_no_wildcard_anywhere() -> None:
    every = [body for body in render() if body["kind"] in {"Role", "ClusterRole"}]
    assert len(every) >= 6
    for body in every:
        assert not [entry for entry in allowed(body["rules"]) if "*" in entry], body["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "kind"), [({}, "ClusterRole"), ({"namespaces": ["team-a"]}, "Role")], ids=["all", "one namespace"]
)
def test_the_chart_grants_the_list(values: dict, kind: str) -> None:
    found = {body["metadata"]["name"]: body for body in render(values) if body["kind"] == kind}
    assert allowed(found["manta-operator"]["rules"]) == NAMESPACED


def test_the_lease_role_grants_the_list_for_one_lease() -> None:
    found = {body["metadata"]["name"]: body["rules"] for body in render() if body["kind"] == "Role"}
    rules = found["manta-operator-lease"]
    assert allowed(rules) == allowed(permissions.rules(permissions.LEASE))
    assert [rule.get("resourceNames") for rule in rules] == [None, ["manta-operator"]]
    deployment = next(body for body in render() if body["kind"] == "Deployment")
    assert "--lease-name=manta-operator" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("values", [{}, {"namespaces": ["team-a"]}], ids=["all", "one namespace"])
def test_the_catalog_role_grants_the_list_for_one_configmap(values: dict) -> None:
    found = {body["metadata"]["name"]: body for body in render(values) if body["kind"] == "Role"}
    role = found["manta-operator-catalog"]
    assert role["metadata"]["namespace"] == "manta-system"
    assert allowed(role["rules"]) == allowed(permissions.rules(permissions.CATALOG))
    assert [rule.get("resourceNames") for rule in role["rules"]] == [["manta-catalog"], None]


@pytest.mark.parametrize(
    ("values", "kind"), [({}, "ClusterRole"), ({"namespaces": ["team-a"]}, "Role")], ids=["all", "one namespace"]
)
def test_secrets_are_read_only_where_that_is_asked_for(values: dict, kind: str) -> None:
    def granted(more: dict) -> set[tuple[str, str, str]]:
        found = {body["metadata"]["name"]: body for body in render(values | more) if body["kind"] == kind}
        return allowed(found["manta-operator"]["rules"])

    assert granted({"facts.readSecrets": True}) - granted({}) == {("", "secrets", "get")}


def test_the_webhook_role_grants_the_list_for_one_configuration() -> None:
    objects = render({"webhook.enabled": True})
    found = {(body["kind"], body["metadata"]["name"]): body for body in objects}
    [rule] = found["ClusterRole", "manta-operator-webhook"]["rules"]
    assert allowed([rule]) == allowed(permissions.rules(permissions.WEBHOOK))
    assert rule["resourceNames"] == ["manta-operator-webhook"]
    assert ("ValidatingWebhookConfiguration", "manta-operator-webhook") in found


def test_every_child_can_be_made_and_watched_and_nothing_else() -> None:
    children = {
        (kind.api_version.rpartition("/")[0], PLURALS.get(kind.kind, f"{kind.kind.lower()}s"), verb)
        for kind in CHILD_KINDS
        for verb in (
            ("get", "list", "watch", "delete")
            if kind.kind == "Pod"
            else ("get", "list", "watch", "create", "patch", "delete")
        )
    }
    own = {entry for entry in NAMESPACED if entry[0] == names.GROUP or entry[1] in ("events", "secrets")}
    assert NAMESPACED - own == children
    assert {(resource, verb) for _, resource, verb in own} == {
        *(("llmdeployments", verb) for verb in ("get", "list", "watch", "patch")),
        ("llmdeployments/status", "patch"),
        ("llmdeployments/finalizers", "update"),
        ("events", "create"),
        ("secrets", "create"),
    }


def test_the_operator_holds_what_it_grants_to_the_router() -> None:
    assert allowed(role(deployment())["rules"]) <= NAMESPACED


def test_cluster_wide_it_only_reads_and_lets_llmdeployments_go() -> None:
    assert {verb for *_, verb in allowed(permissions.rules(permissions.CLUSTER))} <= {"get", "list", "watch"}

    def read(values: dict) -> set[tuple[str, str, str]]:
        [found, _] = [body for body in render(values) if body["metadata"]["name"] == "manta-operator-read"]
        return allowed(found["rules"])

    assert read({"namespaces": ["team-a"]}) - read({}) == {
        ("manta.dev", "llmdeployments", verb) for verb in ("get", "list", "watch", "patch")
    }


def test_the_admission_policy_looks_at_every_write_to_a_child() -> None:
    [policy] = [body for body in render() if body["kind"] == "ValidatingAdmissionPolicy"]
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    looked = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    written = {(group, resource) for group, resource, verb in NAMESPACED if verb in ("create", "patch", "delete")}
    assert looked == written - {("manta.dev", "llmdeployments"), ("manta.dev", "llmdeployments/status"), ("", "events")}
    [condition] = policy["spec"]["matchConditions"]
    assert condition["expression"].endswith("'system:serviceaccount:manta-system:manta-operator'")


def test_without_rights_in_the_cluster_nothing_of_the_cluster_is_installed() -> None:
    alone = {"clusterRead.enabled": False, "crds.enabled": False, "userRoles.enabled": False}
    objects = render({"namespaces": ["team-a"]} | alone)
    assert {body["metadata"].get("namespace") for body in objects} == {"team-a", "manta-system"}


def test_the_controller_speaks_of_no_other_resource() -> None:
    """A resource named in a path or a kopf handler without a permission would be Forbidden in production."""
    known = {resource.partition("/")[0] for _, resource, _ in NAMESPACED}
    known |= {resource for _, resource, _ in allowed(permissions.rules(permissions.CLUSTER))} | {"leases"}
    plural = re.compile(r'"((?:[a-z]+)(?:deployments|sets|pods|nodes|events|leases|claims|classes|endpoints|jobs))"')
    text = "".join(path.read_text() for path in (ROOT / "operator/manta_operator/controller").glob("*.py"))
    assert set(plural.findall(text)) <= known
