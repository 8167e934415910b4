"""What is applied while the mode of the router changes: both kinds of routers, and the route to those that serve."""

import pytest
from make import LLAMA_8B, deployment

from manta_operator.api import names
from manta_operator.builders.desired import Desired, desire
from manta_operator.builders.protection import engine_policy, router_policy
from manta_operator.planning.observe import Observed
from manta_operator.planning.observed import ObservedRouter

EDGE = {"gateway": {"parentRefs": [{"name": "edge"}]}}
POOL = {"router": {"mode": "inference-pool"}}
OLD = ObservedRouter("demo-router", 2)


def desired(observed, **spec):
    made = desire(deployment(**EDGE, **spec), LLAMA_8B, observed)
    assert isinstance(made, Desired)
    return made


def named(made):
    return [(obj["kind"], obj["metadata"]["name"]) for obj in made.objects]


@pytest.mark.parametrize(("ready", "waits"), [(0, True), (1, True), (2, False)])
def test_the_route_waits_for_the_new_routers_and_nothing_is_pruned_until_then(ready, waits):
    observed = Observed(routers=(ObservedRouter("demo-epp", ready), OLD), pool=True, router_pods=frozenset({OLD.name}))
    made = desired(observed, **POOL)
    assert made.keep is waits
    assert (("HTTPRoute", "demo") in named(made)) is not waits
    assert ("Deployment", "demo-epp") in named(made)
    assert ("Deployment", "demo-router") not in named(made)


def test_the_route_is_the_last_word():
    """Routers first: a gateway that follows the route at once finds them."""
    made = named(desired(Observed(), **POOL))
    assert made.index(("HTTPRoute", "demo")) > made.index(("Deployment", "demo-epp"))
    assert made.index(("HTTPRoute", "demo")) > made.index(("InferencePool", "demo"))


@pytest.mark.parametrize(("spec", "other"), [({}, "demo-epp"), (POOL, "demo-router")], ids=["to envoy", "to a pool"])
def test_clients_of_the_old_way_are_let_in_until_its_last_pod_is_gone(spec, other):
    policies = {obj["metadata"]["name"]: obj for obj in desired(Observed(), **spec).objects if is_policy(obj)}
    asked = deployment(**EDGE, **spec)
    assert policies == {"demo-engine": engine_policy(asked), "demo-router": router_policy(asked)}
    draining = Observed(router_pods=frozenset({other}))
    policies = {obj["metadata"]["name"]: obj for obj in desired(draining, **spec).objects if is_policy(obj)}
    ports = [port["port"] for rule in policies["demo-router"]["spec"]["ingress"] for port in rule["ports"]]
    assert {names.ROUTER_PORT, names.EXT_PROC_PORT, names.EXT_PROC_PLAIN_PORT} <= set(ports)
    peers = [peer for rule in policies["demo-engine"]["spec"]["ingress"] for peer in rule["from"]]
    assert len(peers) == 5, "routers, two labels of gateways, ranks, the operator"


def is_policy(obj):
    return obj["kind"] == "NetworkPolicy"


ROUTER_FIELDS = [
    {"policy": "round-robin"},
    {"mode": "inference-pool"},
    {"session": {"header": "x-user"}},
    {"auth": {"secret": "keys"}},
    {"tenants": [{"name": "anonymous", "concurrency": 3}]},
    {"hold": {"seconds": 5, "queueSize": 5}},
    {"cache": {"size": "64Mi"}},
    {"timeouts": {"requestSeconds": 5, "firstByteSeconds": 5}},
    {"retries": 0},
    {"tracing": {"endpoint": "http://c:4318"}},
    {"resources": {"cpu": "2"}},
    {"image": "manta/runtime:1"},
]


@pytest.mark.parametrize("router", ROUTER_FIELDS, ids=lambda router: next(iter(router)))
def test_no_field_of_the_router_replaces_an_engine(router):
    assert desired(Observed(), router=router).plan.revision == desired(Observed()).plan.revision


def template(**router):
    (found,) = [obj for obj in desired(Observed(), router=router).objects if obj["kind"] == "Deployment"]
    return found["spec"]["template"]


def test_tenants_restart_nothing_and_everything_else_in_router_yaml_does():
    plain = template(auth={"secret": "keys"})
    tenants = [{"name": "a", "requestsPerMinute": 1}]
    assert template(auth={"secret": "keys"}, tenants=tenants) == plain
    assert template(auth={"secret": "keys"}, retries=1) != plain


def test_tenants_are_written_as_they_were_said():
    tenants = [{"name": "a", "models": [], "tokensPerMinute": 5, "weight": 2}, {"name": "b"}]
    made = desired(Observed(), router={"auth": {"secret": "keys"}, "tenants": tenants})
    config = {obj["metadata"]["name"]: obj["data"] for obj in made.objects if obj["kind"] == "ConfigMap"}
    assert config["demo-router-tenants"]["tenants.yaml"] == (
        "tenants:\n- name: a\n  models: []\n  tokensPerMinute: 5\n  weight: 2\n- name: b\n"
    )


def test_the_pods_have_time_for_what_they_hold_and_what_they_answer():
    made = desired(Observed(), router={"hold": {"seconds": 100}}, rollout={"drainSeconds": 200})
    (found,) = [obj for obj in made.objects if obj["kind"] == "Deployment"]
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 330


@pytest.mark.parametrize(
    ("least", "hold", "grace"), [(0, 100, 900 + 100 + 60 + 30), (0, 0, 900 + 60 + 30), (1, 100, 100 + 60 + 30)]
)
def test_pods_that_hold_requests_until_the_first_replica_starts_have_time_for_that(least, hold, grace):
    scaling = {"minReplicas": least, "maxReplicas": 3}
    made = desired(Observed(), router={"hold": {"seconds": hold}}, rollout={"drainSeconds": 60}, autoscaling=scaling)
    (found,) = [obj for obj in made.objects if obj["kind"] == "Deployment"]
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


def test_the_picker_alone_sees_the_keys_and_starts_without_them():
    pod = template(auth={"secret": "keys"})["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "keys"]
    assert volume["secret"] == {"secretName": "keys", "optional": True, "defaultMode": 0o440}
    mounted = {c["name"]: {mount["name"] for mount in c["volumeMounts"]} for c in pod["containers"]}
    assert mounted == {"envoy": {"config", "run", "tmp"}, "picker": {"config", "run", "tmp", "keys"}}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]


def test_the_picker_asks_for_the_memory_of_the_cache():
    (picker,) = [c for c in template(cache={"size": "256Mi"})["spec"]["containers"] if c["name"] == "picker"]
    assert picker["resources"]["requests"]["memory"] == "384Mi"
