"""Free places: kube-scheduler's filters over a cluster, what is left, and the sentence that says so."""

import pytest

from manta_operator.placement.nodes import lost_at, lost_nodes, slim_node
from manta_operator.placement.predicates import misfits
from manta_operator.placement.requests import requests
from manta_operator.placement.room import room, survey

GPU = "nvidia.com/gpu"


def node(name, gpus=8, *, ready="True", since="1970-01-01T00:00:00Z", labels=(), taints=(), cordoned=False):
    return {
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"taints": list(taints), "unschedulable": cordoned},
        "status": {
            "allocatable": {"cpu": "64", "memory": "512Gi", "pods": "110", GPU: str(gpus)},
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
        },
    }


def template(gpus=4, **spec):
    resources = {"requests": {"cpu": "8", "memory": "64Gi"}, "limits": {GPU: str(gpus)}}
    return {"spec": {"containers": [{"name": "engine", "resources": resources}], **spec}}


def pod(on, gpus=4, phase="Running"):
    made = template(gpus)
    return {"spec": made["spec"] | {"nodeName": on}, "status": {"phase": phase}}


TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
TOLERATION = {"key": GPU, "operator": "Exists"}
PRODUCT = "nvidia.com/gpu.product"
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": PRODUCT, "operator": "In", "values": ["H100"]}]}]
        }
    }
}


@pytest.mark.parametrize(
    ("case", "nodes", "pods", "wanted", "size", "groups"),
    [
        ("two fit on a node", [node("a")], [], template(), 1, 2),
        ("one is taken", [node("a")], [pod("a")], template(), 1, 1),
        ("what has ended holds nothing", [node("a")], [pod("a", phase="Succeeded")], template(), 1, 2),
        ("what is not bound holds nothing", [node("a")], [pod("")], template(), 1, 2),
        ("a group over two nodes", [node("a"), node("b")], [], template(8), 2, 1),
        ("half a group is none", [node("a"), node("b", gpus=4)], [], template(8), 2, 0),
        ("memory may be short", [node("a", gpus=99)], [], template(1), 1, 8),
        ("cordoned", [node("a", cordoned=True)], [], template(), 1, 0),
        ("not ready", [node("a", ready="False")], [], template(), 1, 0),
        ("tainted", [node("a", taints=[TAINT])], [], template(), 1, 0),
        ("tolerated", [node("a", taints=[TAINT])], [], template(tolerations=[TOLERATION]), 1, 2),
        ("a soft taint", [node("a", taints=[TAINT | {"effect": "PreferNoSchedule"}])], [], template(), 1, 2),
        ("selected", [node("a"), node("b", labels={"zone": "1"})], [], template(nodeSelector={"zone": "1"}), 1, 2),
        ("by product", [node("a", labels={PRODUCT: "H100"}), node("b")], [], template(affinity=AFFINITY), 1, 2),
        ("no nodes", [], [], template(), 1, 0),
    ],
)
def test_groups(case, nodes, pods, wanted, size, groups):
    assert room(wanted, size, survey(nodes, pods)).groups == groups, case


@pytest.mark.parametrize(
    ("case", "nodes", "pods", "wanted", "size", "suitable"),
    [
        ("full, but it could hold two", [node("a")], [pod("a"), pod("a")], template(), 1, 2),
        ("full of groups over two nodes", [node("a"), node("b")], [pod("a", 8), pod("b", 8)], template(8), 2, 1),
        ("too small even when empty", [node("a")], [pod("a")], template(16), 1, 0),
        ("cordoned: it would take none back", [node("a", cordoned=True)], [pod("a")], template(), 1, 0),
        ("not ready", [node("a", ready="Unknown")], [pod("a")], template(), 1, 0),
        ("tainted", [node("a", taints=[TAINT])], [pod("a")], template(), 1, 0),
        ("of another product", [node("a", labels={PRODUCT: "A10"})], [pod("a")], template(affinity=AFFINITY), 1, 0),
    ],
)
def test_places_if_the_nodes_were_empty(case, nodes, pods, wanted, size, suitable):
    found = room(wanted, size, survey(nodes, pods))
    assert (found.groups, found.suitable) == (0, suitable), case


@pytest.mark.parametrize(
    ("nodes", "pods", "size", "said"),
    [
        ([node("a"), node("b", cordoned=True)], [], 1,
         f"a replica needs a pod with 4 {GPU}; 8 of 8 free on 1 of 2 nodes: place for 2 more"),
        ([node("a"), node("b", cordoned=True), node("c", ready="Unknown")], [pod("a"), pod("a", 2)], 2,
         f"a replica needs 2 pods with 4 {GPU} each; 2 of 8 free on 1 of 3 nodes: no place for one "
         f"(1 Insufficient {GPU}, 1 node(s) were not ready, 1 node(s) were unschedulable)"),
        ([], [], 1, f"a replica needs a pod with 4 {GPU}; 0 of 0 free on 0 of 0 nodes: no place for one"),
    ],
)  # fmt: skip
def test_sentences(nodes, pods, size, said):
    assert room(template(), size, survey(nodes, pods)).sentence == said


def test_a_pod_on_cpu_is_told_in_memory():
    bare = {"spec": {"containers": [{"resources": {"requests": {"cpu": "1", "memory": "256Gi"}}}]}}
    assert room(bare, 1, survey([node("a")], [])).sentence == (
        "a replica needs a pod with 256.0Gi memory; 512.0Gi of 512.0Gi free on 1 of 1 nodes: place for 2 more"
    )


def test_init_containers_sidecars_and_overhead_count():
    def step(cpu, **more):
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    asked = requests(
        {
            "spec": {
                "initContainers": [step("1", restartPolicy="Always"), step("3")],
                "containers": [step("2")],
                "overhead": {"cpu": "500m"},
            }
        }
    )
    assert float(asked["cpu"]) == 4.5  # the sidecar and the larger of the init step (3) and the container (2)


def test_messages_name_the_node():
    (found,) = misfits(template(), node("a", cordoned=True), {}, {})
    assert (found.reason, found.detail) == ("node(s) were unschedulable", "the node is cordoned: kubectl uncordon a")


READY, DOWN = [node("a"), node("b")], node("c", ready="Unknown", since="1970-01-01T00:10:00Z")


@pytest.mark.parametrize(
    ("case", "nodes", "used", "now", "lost"),
    [
        ("all are ready", READY, ["a"], 700, set()),
        ("not ready for five minutes", [*READY, DOWN], [], 900, {"c"}),
        ("not ready for less", [*READY, DOWN], [], 899, set()),
        ("gone", READY, ["a", "z"], 700, {"z"}),
        ("most are not ready: the fault is elsewhere", [DOWN, node("d", ready="False"), node("a")], [], 9999, set()),
        ("the only one", [DOWN], ["c"], 9999, set()),
        ("nobody may list nodes", [], ["a"], 700, set()),
    ],
)
def test_lost_nodes(case, nodes, used, now, lost):
    assert lost_nodes(nodes, used, now) == lost, case


def test_when_a_node_will_be_lost():
    assert lost_at([*READY, DOWN], 610) == 900
    assert lost_at([*READY, DOWN], 900) is None


UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
OTHERS = [node(f"cpu-{n}", 0) for n in range(100)] + [node(f"a10-{n}", labels={PRODUCT: "A10"}) for n in range(50)]


def h100(name, ready):
    taints = [TAINT] if ready else [TAINT, UNREACHABLE]
    return node(name, ready="True" if ready else "Unknown", labels={PRODUCT: "H100"}, taints=taints)


@pytest.mark.parametrize(
    ("case", "ready", "away", "cordoned", "lost"),
    [
        ("one of ten", 9, 1, False, 1),
        ("half of them", 5, 5, False, 5),
        ("most: the fault is elsewhere", 4, 6, False, 0),
        ("all", 0, 10, False, 0),
        ("all but cordoned ones, which are well all the same", 6, 4, True, 4),
    ],
)
def test_only_nodes_that_could_run_the_pods_tell_whether_too_many_are_away(case, ready, away, cordoned, lost):
    well = [h100(f"w{n}", ready=True) for n in range(ready)]
    for each in well:
        each["spec"]["unschedulable"] = cordoned
    bad = [h100(f"b{n}", ready=False) for n in range(away)]
    wanted = template(affinity=AFFINITY, tolerations=[TOLERATION])
    nodes = [slim_node(each) for each in [*OTHERS, *well, *bad]]
    assert len(lost_nodes(nodes, [], 9999, wanted)) == lost, case


def test_a_node_that_pods_run_on_counts_whatever_their_template_says_by_now():
    wanted = template(affinity=AFFINITY)
    assert lost_nodes([node("old", ready="Unknown"), *OTHERS], ["old"], 9999, wanted) == set()
    new = [h100("w0", ready=True) | {"spec": {}}]
    assert lost_nodes([node("old", ready="Unknown"), *OTHERS, *new], ["old"], 9999, wanted) == {"old"}


@pytest.mark.parametrize(
    "body",
    [node("a", taints=[TAINT], labels={PRODUCT: "H100"}), node("b", cordoned=True), node("c", ready="Unknown"), DOWN],
)
def test_a_slim_node_is_judged_as_the_whole(body):
    whole = body | {"status": body["status"] | {"images": ["x"], "capacity": {"cpu": "65"}}}
    slim = slim_node(whole)
    assert "images" not in slim["status"]
    for wanted in (template(), template(affinity=AFFINITY, tolerations=[TOLERATION])):
        assert room(wanted, 1, survey([slim], [])) == room(wanted, 1, survey([whole], []))
        assert lost_nodes([slim, *READY], [], 1000, wanted) == lost_nodes([whole, *READY], [], 1000, wanted)
