"""Child bodies to values: membership, readiness from the pods, what is left of a group, and that slim loses nothing."""

import copy

import pytest
from groups import bodies, condition, crashing, group, restarted, stamp, stopped, unhelped, unschedulable

from manta_operator.planning.observe import GroupRestart, observe, slim

NOW = 50_000.0
ROUTER = {
    "metadata": {"name": "demo-router", "uid": "r", "labels": {"manta.dev/deployment": "demo"}, "managedFields": [{}]},
    "spec": {"template": {"spec": {"containers": [{"name": "envoy"}]}}},
    "status": {"readyReplicas": 2, "replicas": 2, "observedGeneration": 3},
}


def fat(body):
    """A body with everything that an API server adds."""
    made = copy.deepcopy(body)
    made["metadata"] |= {"resourceVersion": "7", "managedFields": [{"manager": "x"}], "generation": 3}
    made["metadata"].setdefault("annotations", {})["other.dev/note"] = "long" * 100
    made["spec"] = {"template": {"spec": {}}, "containers": [{"name": "engine"}]} | made["spec"]
    made.setdefault("status", {})["podIP"] = "10.0.0.1"
    made["status"].setdefault("conditions", []).append(condition("Initialized", "True", 0))
    return made


def scene():
    leaving = group("old", 1)
    leaving.statefulset["metadata"]["deletionTimestamp"] = stamp(NOW)
    return [
        restarted(group("new", 0, pods=2), 2, 777),
        crashing(group("new", 1, ready=False)),
        unschedulable(group("new", 2, ready=False), NOW - 5),
        stopped(group("old", 0), NOW - 9),
        leaving,
    ]


def test_what_fetches_adapters_says_nothing_of_the_engine():
    """It may restart, or start later, while the engine serves: no deadline begins anew, no restart is counted."""
    (sets, [pod]), later = bodies(group("new", 0)), stamp(NOW - 1)
    engine = {"name": "engine", "restartCount": 1, "state": {"running": {"startedAt": stamp(NOW - 900)}}}
    beside = {"name": "adapters", "restartCount": 7, "state": {"running": {"startedAt": later}}}
    pod["status"]["containerStatuses"] = [engine, beside]
    [seen] = observe(sets, [slim("Pod", pod)], [], NOW).pods
    assert (seen.restarts, seen.engine_started) == (1, NOW - 900)
    beside["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    [seen] = observe(sets, [slim("Pod", pod)], [], NOW).pods
    assert (seen.engine_started, seen.problem) == (NOW - 900, "CrashLoopBackOff: back-off"), "but it is told"


def test_that_only_a_helper_is_not_ready_is_read_of_whole_and_of_slim_pods():
    sets, [pod] = bodies(unhelped(group("new", 0, ready=False), 7))
    for body in (pod, slim("Pod", pod)):
        assert observe(sets, [body], [], NOW).pods[0].helper_ended == 7
    _, [pod] = bodies(unhelped(group("new", 0, ready=False), 7, engine=False))
    assert observe(sets, [pod], [], NOW).pods[0].helper_ended is None
    assert observe(*bodies(group("new", 0, ready=False)), [], NOW).pods[0].helper_ended is None


def test_slim_bodies_say_the_same():
    sets, pods = bodies(*scene())
    whole = observe(map(fat, sets), map(fat, pods), [ROUTER], NOW)
    lean = observe(
        [slim("StatefulSet", fat(body)) for body in sets],
        [slim("Pod", fat(body)) for body in pods],
        [slim("Deployment", ROUTER)],
        NOW,
    )
    assert lean == whole
    assert lean.router_ready == 2
    assert lean.groups[0].restart == GroupRestart(2, 777)


def test_slim_is_slim_and_stays_so():
    for kind, body in (
        ("StatefulSet", bodies(*scene())[0][0]),
        ("Pod", bodies(*scene())[1][0]),
        ("Deployment", ROUTER),
    ):
        once = slim(kind, fat(body) if kind != "Deployment" else body)
        assert slim(kind, once) == once
        assert "managedFields" not in str(once)
        assert "template" not in str(once)


def test_readiness_is_read_from_the_pods():
    made = group("new", 0, pods=2)
    assert observe(*bodies(made), []).groups[0].ready
    made.pods.pop()
    seen = observe(*bodies(made), []).groups[0]
    assert (seen.ready_pods, seen.ready, seen.complete) == (1, False, False)


def test_a_pod_on_its_way_out_does_not_serve():
    made = group("new", 0)
    made.pods[0]["metadata"]["deletionTimestamp"] = stamp(NOW)
    assert observe(*bodies(made), [], NOW).ready_groups() == 0


def test_a_pod_of_a_former_group_of_the_same_name_is_not_counted():
    made = group("new", 0)
    made.pods[0]["metadata"]["ownerReferences"][0]["uid"] = "former"
    observed = observe(*bodies(made), [])
    assert observed.ready_groups() == 0
    assert observed.busy_names == {"demo-new-0"}


@pytest.mark.parametrize(
    ("case", "change", "stays"),
    [
        ("its StatefulSet is gone", lambda pod: None, False),
        ("its node is lost", lambda pod: pod["spec"].update(nodeName="node-9"), True),
        ("orphaned on purpose", lambda pod: pod["metadata"].pop("ownerReferences"), True),
    ],
)
def test_pods_without_a_group_keep_its_name_busy(case, change, stays):
    made = group("old", 3)
    change(made.pods[0])
    observed = observe([], made.pods, [], NOW, frozenset({"node-9"}))
    assert [(each.name, each.revision, each.stays) for each in observed.leaving] == [("demo-old-3", "old", stays)], case


@pytest.mark.parametrize("annotation", ["", "null", "[]", "{", '{"count": 1}', '{"count": "x", "at": "y"}', "3"])
def test_an_annotation_that_nobody_can_read_is_none(annotation):
    made = group("new", 0)
    made.statefulset["metadata"]["annotations"] = {"manta.dev/restart": annotation}
    assert observe(*bodies(made), []).groups[0].restart is None


def test_only_the_engine_that_served_can_blink():
    blinking, crashed = stopped(group("new", 0), 900.0), stopped(group("new", 1), 900.0)
    crashed.pods[0]["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": stamp(901)}}
    never = group("new", 2, ready=False)
    seen = observe(*bodies(blinking, crashed, never), []).pods
    assert [(pod.served, pod.only_unready) for pod in seen] == [(True, True), (True, False), (False, False)]
