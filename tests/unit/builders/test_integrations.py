"""The PodMonitor, the HTTPRoute, and the room that NetworkPolicies leave for who reads metrics and loads."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from make import LLAMA_8B, deployment

from manta_operator.api import names
from manta_operator.builders.desired import Desired, desire
from manta_operator.builders.protection import engine_policy, operator_of, router_policy
from manta_operator.planning.integrations import OPTIONAL_KINDS
from manta_operator.planning.observe import Observed

MONITORED = {"monitoring": {"podMonitor": True}}
ROUTED = {"gateway": {"parentRefs": [{"name": "edge", "namespace": "infra"}, {"name": "lan", "sectionName": "https"}]}}

POOLED = {"router": {"mode": "inference-pool"}}
OPTIONAL = {kind.kind for kind in OPTIONAL_KINDS}


def spec_of(kind, **spec):
    (found,) = [obj for obj in optional(**spec) if obj["kind"] == kind]
    return found["spec"]


def optional(**spec):
    """The objects of kinds that a cluster may not serve, in the order in which they are applied."""
    desired = desire(deployment(**spec), LLAMA_8B, Observed())
    assert isinstance(desired, Desired)
    return [obj for obj in desired.objects if obj["kind"] in OPTIONAL]


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        ({}, []),
        (MONITORED, ["PodMonitor"]),
        (ROUTED, ["HTTPRoute"]),
        (MONITORED | ROUTED, ["HTTPRoute", "PodMonitor"]),
        (POOLED, ["InferencePool"]),
        (POOLED | ROUTED, ["InferencePool", "HTTPRoute"]),
    ],
    ids=["neither", "monitored", "routed", "both", "a pool", "a pool with a route"],
)
def test_only_what_is_asked_for_is_made(spec, kinds):
    assert [obj["kind"] for obj in optional(**spec)] == kinds


def test_integrations_are_children_like_any_other():
    for obj in optional(**MONITORED, **ROUTED, **POOLED):
        assert obj["metadata"]["name"] == "demo"
        assert obj["metadata"]["labels"][names.LABEL_MANAGED_BY] == "manta"
        assert obj["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


def test_prometheus_reads_heads_and_routers():
    spec = spec_of("PodMonitor", **MONITORED)
    assert spec["selector"] == {"matchLabels": {"manta.dev/deployment": "demo"}}
    engine, launcher, router = spec["podMetricsEndpoints"]
    (keep,) = engine["relabelings"]
    assert (engine["port"], launcher["port"], router["port"]) == ("http", "control", "picker")
    assert "relabelings" not in launcher, "every rank has a launcher"
    assert keep["sourceLabels"] == [
        "__meta_kubernetes_pod_label_app_kubernetes_io_component",
        "__meta_kubernetes_pod_label_apps_kubernetes_io_pod_index",
    ]
    assert keep["regex"] == "engine;0"


def test_the_ports_that_are_scraped_are_there():
    desired = desire(deployment(**MONITORED), LLAMA_8B, Observed())
    assert isinstance(desired, Desired)
    ports = {
        (obj["kind"], port["name"]): port["containerPort"]
        for obj in desired.objects
        if obj["kind"] in ("StatefulSet", "Deployment")
        for container in obj["spec"]["template"]["spec"]["containers"]
        for port in container["ports"]
    }
    assert ports["StatefulSet", "http"] == names.ENGINE_PORT
    assert ports["Deployment", "picker"] == names.PICKER_PORT


def test_the_route_leads_to_the_service_for_as_long_as_an_answer_takes():
    spec = spec_of("HTTPRoute", router={"port": 80}, **ROUTED)
    assert spec["parentRefs"] == [{"name": "edge", "namespace": "infra"}, {"name": "lan", "sectionName": "https"}]
    (rule,) = spec["rules"]
    assert rule["backendRefs"] == [{"name": "demo", "port": 80}]
    assert rule["timeouts"] == {"request": "0s"}
    assert "hostnames" not in spec


def test_the_route_is_for_the_hosts_that_were_named():
    gateway = ROUTED["gateway"] | {"hostnames": ["llm.example.com", "*.ai.example.com"]}
    assert spec_of("HTTPRoute", gateway=gateway)["hostnames"] == ["llm.example.com", "*.ai.example.com"]


def admitted(policy, port):
    """The labels of the peers that a NetworkPolicy lets in at a port; None stands for everybody."""
    rules = [rule for rule in policy["spec"]["ingress"] if {"port": port, "protocol": "TCP"} in rule.get("ports", ())]
    return [peer["podSelector"] if peer else None for rule in rules for peer in rule.get("from", [None])]


ROUTERS = {"matchLabels": {"manta.dev/deployment": "demo", "app.kubernetes.io/component": "router"}}
OPERATORS = {"matchLabels": {"app.kubernetes.io/part-of": "manta", "app.kubernetes.io/component": "operator"}}
GATEWAY_LABELS = ("gateway.networking.k8s.io/gateway-name", "gateway.envoyproxy.io/owning-gateway-name")
GATEWAYS = [{"matchExpressions": [{"key": label, "operator": "Exists"}]} for label in GATEWAY_LABELS]
NAMED_GATEWAYS = [
    {"matchExpressions": [{"key": label, "operator": "In", "values": ["edge", "lan"]}]} for label in GATEWAY_LABELS
]
PROMETHEUS = {
    "matchExpressions": [
        {"key": "app.kubernetes.io/name", "operator": "In", "values": ["prometheus", "prometheus-agent"]}
    ]
}


@pytest.mark.parametrize(
    ("build", "port", "spec", "peers"),
    [
        (engine_policy, names.ENGINE_PORT, {}, [ROUTERS]),
        (engine_policy, names.ENGINE_PORT, MONITORED, [ROUTERS, PROMETHEUS]),
        (engine_policy, names.CONTROL_PORT, {}, [OPERATORS]),
        (engine_policy, names.CONTROL_PORT, MONITORED, [OPERATORS, PROMETHEUS]),
        (engine_policy, names.CONTROL_PORT, {"model": {"uri": "pvc://models/a"}}, [OPERATORS]),
        (router_policy, names.ROUTER_PORT, {}, [None]),
        (router_policy, names.PICKER_PORT, {}, [OPERATORS, ROUTERS]),
        (router_policy, names.PICKER_PORT, MONITORED, [OPERATORS, ROUTERS, PROMETHEUS]),
        (router_policy, names.EXT_PROC_PORT, {}, []),
        (router_policy, names.ROUTER_PORT, POOLED, []),
        (router_policy, names.EXT_PROC_PORT, POOLED, GATEWAYS),
        (router_policy, names.EXT_PROC_PLAIN_PORT, POOLED, GATEWAYS),
        (router_policy, names.PICKER_PORT, POOLED, [OPERATORS, ROUTERS]),
        (engine_policy, names.ENGINE_PORT, POOLED, [ROUTERS, *GATEWAYS]),
        (engine_policy, names.ENGINE_PORT, POOLED | ROUTED, [ROUTERS, *NAMED_GATEWAYS]),
    ],
)
def test_who_is_let_in(build, port, spec, peers):
    policy = build(deployment(**spec))
    assert admitted(policy, port) == peers
    kubernetes_validate.validate(policy, "1.37", strict=True)


def test_the_operators_own_pods_are_let_in():
    text = (Path(__file__).parents[3] / "deploy/install.yaml").read_text("utf-8")
    (operator,) = [obj for obj in yaml.safe_load_all(text) if obj and obj["kind"] == "Deployment"]
    labels = operator["spec"]["template"]["metadata"]["labels"]
    assert OPERATORS["matchLabels"].items() <= labels.items()
    assert operator["metadata"]["namespace"] == names.OPERATOR_NAMESPACE


def places(policy, pods):
    """The namespaces that peers with such labels are let in from."""
    peers = [peer for rule in policy["spec"]["ingress"] for peer in rule.get("from", ()) if peer["podSelector"] == pods]
    expressions = [each for peer in peers for each in peer["namespaceSelector"]["matchExpressions"]]
    assert {(each["key"], each["operator"]) for each in expressions} == {("kubernetes.io/metadata.name", "In")}
    return {tuple(each["values"]) for each in expressions}


def test_labels_let_nobody_in_from_a_namespace_where_anybody_might_set_them():
    """Engines ask for no key, and whoever may make pods somewhere may label them as they like."""
    spec = MONITORED | POOLED | ROUTED
    for policy in (engine_policy(deployment(**spec), "ops"), router_policy(deployment(**spec), "ops")):
        for rule in policy["spec"]["ingress"]:
            for peer in rule["from"]:
                assert peer.get("namespaceSelector") != {}
        assert places(policy, PROMETHEUS) == {("monitoring",)}
        for gateway in NAMED_GATEWAYS:
            assert places(policy, gateway) == {("default", "envoy-gateway-system", "infra")}
        assert places(policy, OPERATORS) == {("ops",)}


def test_prometheus_may_be_elsewhere():
    policy = engine_policy(deployment(monitoring={"podMonitor": True, "namespace": "prom"}))
    assert places(policy, PROMETHEUS) == {("prom",)}


def test_gateways_that_nobody_named_are_those_of_this_namespace():
    assert places(engine_policy(deployment(**POOLED)), GATEWAYS[0]) == {("default", "envoy-gateway-system")}


@pytest.mark.parametrize("policy", [None, {}, {"spec": {"ingress": [{"from": [{"podSelector": OPERATORS}]}]}}])
def test_who_cannot_see_where_the_operator_is_takes_the_default(policy):
    assert operator_of(policy) == "manta-system"
    assert operator_of(router_policy(deployment(), "ops")) == "ops"


def test_routers_go_where_they_are_told_and_engines_do_not_follow():
    taint = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    asked = {"nodeSelector": {"pool": "small"}, "tolerations": [taint], "priorityClassName": "edge"}
    desired = desire(deployment(router={"scheduling": asked}), LLAMA_8B, Observed())
    assert isinstance(desired, Desired)
    pods = {
        obj["kind"]: obj["spec"]["template"]["spec"] for obj in desired.objects if "template" in obj.get("spec", {})
    }
    router, engine = pods["Deployment"], pods["StatefulSet"]
    assert (router["nodeSelector"], router["priorityClassName"]) == ({"pool": "small"}, "edge")
    assert router["tolerations"] == [taint]
    assert not {"nodeSelector", "tolerations", "priorityClassName"} & set(engine)
    assert "affinity" not in router
