"""Decisions of the controllers as tables: values in, actions out."""

# ruff: noqa: E501 - tables read better unwrapped
import pytest

from manta_operator.box import names, proxy
from manta_operator.box.workloads import collector, deployment_plan, replicaset, scheduler_plan
from manta_operator.box.workloads import statefulset_plan as sts_plan
from manta_operator.box.workloads.node import NodeResources, node_object
from manta_operator.placement import predicates, quantities

NOW = 1_000_000.0
REV = sts_plan.Revisions("s-old", "s-new")


def stateful_set(replicas=3, policy="OrderedReady", strategy=None):
    meta = {"name": "s", "namespace": "d", "uid": "u", "generation": 2}
    spec = {"replicas": replicas, "podManagementPolicy": policy, "serviceName": "g", "template": {"spec": {}}}
    if strategy:
        spec["updateStrategy"] = strategy
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec}


def pod(text):
    """`0 old ready`: ordinal, revision, state (ready, unready, failed, leaving)."""
    ordinal, revision, state = text.split()
    ready = "True" if state in {"ready", "leaving"} else "False"
    meta = {"name": f"s-{ordinal}", "namespace": "d", "labels": {sts_plan.REVISION_LABEL: f"s-{revision}"}}
    if state == "leaving":
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    phase = "Failed" if state == "failed" else "Running"
    return {
        "metadata": meta,
        "spec": {},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
    }


def shown(actions):
    return [f"+{a.ordinal}" if isinstance(a, sts_plan.Create) else f"-{a.name[2:]}" for a in actions]


PARALLEL, ON_DELETE = "Parallel", {"type": "OnDelete"}
PARTITION_2 = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}


@pytest.mark.parametrize(
    ("sts", "pods", "expected"),
    [
        pytest.param(stateful_set(), [], ["+0"], id="ordered starts with the first"),
        pytest.param(stateful_set(), ["0 new unready"], [], id="ordered waits for readiness"),
        pytest.param(stateful_set(), ["0 new ready"], ["+1"], id="ordered goes on"),
        pytest.param(stateful_set(policy=PARALLEL), ["1 new unready"], ["+0", "+2"], id="parallel fills all gaps"),
        pytest.param(stateful_set(1), ["0 new failed"], ["-0"], id="a failed pod is made anew"),
        pytest.param(stateful_set(1), [f"{n} new ready" for n in range(3)], ["-2"], id="ordered shrinks from the top"),
        pytest.param(
            stateful_set(1, PARALLEL), [f"{n} new ready" for n in range(3)], ["-2", "-1"], id="parallel shrinks at once"
        ),
        pytest.param(stateful_set(), ["0 old ready", "1 old ready", "2 old ready"], ["-2"], id="update starts on top"),
        pytest.param(stateful_set(), ["0 old ready", "1 old ready", "2 new unready"], [], id="update waits for health"),
        pytest.param(stateful_set(), ["0 old ready", "1 old ready", "2 new ready"], ["-1"], id="update goes down"),
        pytest.param(
            stateful_set(strategy=PARTITION_2),
            ["0 old ready", "1 old ready", "2 new ready"],
            [],
            id="partition stops it",
        ),
        pytest.param(stateful_set(1, strategy=ON_DELETE), ["0 old ready"], [], id="OnDelete leaves old pods"),
        pytest.param(stateful_set(1), ["0 new leaving"], [], id="a leaving pod keeps its name until it is gone"),
    ],
)
def test_stateful_set_steps(sts, pods, expected):
    assert shown(sts_plan.decide(sts, [pod(p) for p in pods], REV, NOW)) == expected


def replica_set(name, size, available, revision, template="t"):
    meta = {"name": name, "annotations": {deployment_plan.REVISION: str(revision)}}
    spec = {"replicas": size, "template": {"metadata": {"labels": {}}, "spec": {"x": template}}}
    return {"metadata": meta, "spec": spec, "status": {"availableReplicas": available, "replicas": size}}


def deployment(replicas, surge="25%", unavailable="25%", **spec):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    base = {"replicas": replicas, "strategy": strategy, "template": {"metadata": {}, "spec": {"x": "t"}}}
    return {"metadata": {"name": "w", "namespace": "d"}, "spec": base | spec}


@pytest.mark.parametrize(
    ("wanted", "new", "old", "expected"),
    [
        pytest.param(deployment(4), (1, 0), (4, 4), {"o": 3}, id="one spare old pod may go"),
        pytest.param(deployment(4), (0, 0), (4, 4), {"n": 1}, id="surge first"),
        pytest.param(deployment(4), (2, 1), (3, 3), {"o": 2}, id="one more per new available one"),
        pytest.param(deployment(2, 1, 0), (1, 0), (2, 2), {}, id="zero unavailable waits"),
        pytest.param(deployment(2, 1, 0), (1, 1), (2, 2), {"o": 1}, id="zero unavailable goes on"),
        pytest.param(deployment(2, 0, 0), (0, 0), (2, 2), {"o": 1}, id="both zero still moves"),
        pytest.param(deployment(2), (5, 5), (0, 0), {"n": 2}, id="scale down"),
        pytest.param(deployment(5, paused=True), (0, 0), (2, 2), {"o": 5}, id="paused still scales"),
        pytest.param(
            deployment(2, strategy={"type": "Recreate"}), (0, 0), (2, 2), {"o": 0}, id="recreate empties first"
        ),
    ],
)
def test_deployment_sizes(wanted, new, old, expected):
    steps = deployment_plan.decide(wanted, replica_set("n", *new, 2), [replica_set("o", *old, 1, "u")])
    assert {step.name: step.replicas for step in steps} == expected


def test_replica_set_gives_up_the_least_useful_pod():
    pods = [pod("0 x ready"), pod("1 x unready"), pod("2 x ready")]
    created, deleted = replicaset.decide({"metadata": {}, "spec": {"replicas": 2}}, pods)
    assert (created, [p["metadata"]["name"] for p in deleted]) == (0, ["s-1"])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [{"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]}, ""),
        ({"containers": [{"resources": {"requests": {"memory": "3Gi"}}}]}, "1 Insufficient memory. memory: 3.0Gi asked, 2.0Gi of 2.0Gi left"),
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}, "1 Insufficient nvidia.com/gpu. nvidia.com/gpu: 1 asked, the node has none"),
        ({"containers": [], "initContainers": [{"resources": {"requests": {"cpu": 3}}}]}, "1 Insufficient cpu. cpu: 3 asked"),
        ({"containers": [], "nodeSelector": {"a": "b"}}, "node affinity/selector. the node lacks a=b"),
    ],
)  # fmt: skip
def test_scheduler_messages(spec, expected):
    resources = NodeResources(cpu=2, memory=2 << 30)
    found = predicates.misfits({"spec": spec}, node_object(resources), resources.allocatable(), {})
    assert bool(found) == bool(expected)
    assert not expected or expected in scheduler_plan.message([found])


@pytest.mark.parametrize(("text", "value"), [("100m", 0.1), ("1.5Gi", 1.5 * 2**30), ("2e3", 2000), ("1k", 1000)])
def test_quantities(text, value):
    assert float(quantities.parse(text)) == value


def node(uid, *owners, deleting=False, finalizers=(), block=True):
    refs = tuple({"uid": o, "kind": "K", "name": o, "blockOwnerDeletion": block} for o in owners)
    return collector.Node(uid, "K", "d", uid, refs, deleting, tuple(finalizers))


FOREGROUND = {"deleting": True, "finalizers": (collector.FOREGROUND,)}


@pytest.mark.parametrize(
    ("graph", "about", "expected"),
    [
        pytest.param([node("c", "o")], "c", [collector.Remove("c")], id="owner gone"),
        pytest.param([node("o"), node("c", "o")], "c", [], id="owner there"),
        pytest.param([node("a"), node("c", "a", "b")], "c", [collector.Disown("c", "b")], id="one of two owners gone"),
        pytest.param([node("o", **FOREGROUND), node("c", "o")], "o", [], id="foreground waits for its dependents"),
        pytest.param([node("o", **FOREGROUND), node("c", "o")], "c", [collector.Remove("c")], id="which go first"),
        pytest.param([node("o", **FOREGROUND)], "o", [collector.Finish("o", collector.FOREGROUND)], id="then it goes"),
        pytest.param(
            [node("o", deleting=True, finalizers=[collector.ORPHAN]), node("c", "o")],
            "o",
            [collector.Disown("c", "o"), collector.Finish("o", collector.ORPHAN)],
            id="orphaning",
        ),
    ],
)
def test_garbage_collection(graph, about, expected):
    by_uid = {item.uid: item for item in graph}
    assert collector.decide(by_uid[about], by_uid) == expected


def endpoint(address, ready=True, **more):
    return {"addresses": [address], "conditions": {"ready": ready, **more}}


def endpoint_slice(*endpoints):
    meta = {"name": "x", "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}}
    return {"metadata": meta, "endpoints": list(endpoints), "ports": [{"name": "http", "port": 80}]}


def test_proxy_prefers_ready_endpoints_and_falls_back_to_leaving_ones():
    leaving = endpoint("127.1.1.3", False, serving=True, terminating=True)
    assert proxy.backends([endpoint_slice(endpoint("127.1.1.2"), leaving)], "http") == [("127.1.1.2", 80)]
    assert proxy.backends([endpoint_slice(leaving)], "http") == [("127.1.1.3", 80)]
    assert proxy.backends([endpoint_slice(endpoint("127.1.1.4", False))], "http") == []


def test_hosts_file_names_services_and_pods_of_headless_ones():
    services = [
        {"metadata": {"name": "s", "namespace": "d"}, "spec": {"clusterIP": "None"}},
        {"metadata": {"name": "v", "namespace": "d"}, "spec": {"clusterIP": "127.2.1.1"}},
    ]
    text = names.render(services, [endpoint_slice({**endpoint("127.1.1.2"), "hostname": "p-0"})])
    assert text.splitlines() == [
        "127.1.1.2 p-0.s.d p-0.s.d.svc p-0.s.d.svc.cluster.local",
        "127.1.1.2 s.d s.d.svc s.d.svc.cluster.local",
        "127.2.1.1 v.d v.d.svc v.d.svc.cluster.local",
    ]
