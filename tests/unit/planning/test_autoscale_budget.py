"""How many engine pods evictions leave: drains go on, whatever the demand asks for, and never take everything."""

import pytest
from groups import bodies, group, pod, stamp, unschedulable
from make import LLAMA_8B, deployment

from manta_operator.box.workloads import disruption
from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.autoscale import asking
from manta_operator.planning.autoscale_budget import healthy_pods
from manta_operator.planning.observe import observe

NOW = 10_000.0


def spec(asked, least=1):
    return asking(deployment(autoscaling={"minReplicas": least, "maxReplicas": 40}), asked).spec


def waiting(index, since=NOW - 300):
    return unschedulable(group("new", index, ready=False, created=since), since)


def evicted(index):
    """A group that had its place, and whose new pod waits for another."""
    found = group("new", index, ready=False, created=NOW - 5000)
    found.pods = [pod(found.statefulset, 0, created=NOW - 300)]
    return unschedulable(found, NOW - 300)


@pytest.mark.parametrize(
    ("asked", "least", "pods", "groups", "healthy"),
    [
        (0, 0, 1, [], 0),
        (1, 0, 1, [group("new", 0)], 0),
        (1, 1, 4, [group("new", 0, pods=4)], 3),
        (5, 1, 1, [group("new", index) for index in range(5)], 4),
        (5, 1, 1, [group("new", 0), group("new", 1), *map(waiting, (2, 3, 4))], 1),
        (5, 1, 2, [group("new", 0, pods=2), *map(waiting, (1, 2, 3, 4))], 1),
        (5, 3, 1, [group("new", 0), *map(waiting, (1, 2, 3, 4))], 2),
        (3, 1, 1, [group("new", 0), group("new", 1), waiting(2, NOW - 10)], 2),
        (3, 1, 1, [group("new", 0), evicted(1), evicted(2)], 2),
        (2, 1, 1, [waiting(0), waiting(1)], 0),
    ],
    ids=["none", "one", "one of four pods", "five", "three never had a place", "never below one replica but a pod",
         "never below minReplicas but a pod", "one that waits for a moment", "two that drains took", "no place at all"],
)  # fmt: skip
def test_how_many_pods_stay_healthy(asked, least, pods, groups, healthy):
    assert healthy_pods(spec(asked, least), pods, observe(*bodies(*groups), [], NOW)) == healthy


def rendered(asked, *groups):
    found = desire(asked, LLAMA_8B, observe(*bodies(*groups), [], NOW))
    assert isinstance(found, Desired)
    kind, name = "PodDisruptionBudget", f"{asked.name}-engine"
    return next(each for each in found.objects if each["kind"] == kind and each["metadata"]["name"] == name)


def budget(asked):
    return rendered(asked)["spec"]


def drains(made):
    for body in made.pods:
        body["metadata"]["deletionTimestamp"] = stamp(NOW + 600)
    return made


SERVING = [group("new", index) for index in range(5)]


@pytest.mark.parametrize(
    ("asked", "groups", "leaving", "allowed"),
    [
        (1, SERVING[:1], [], 1),
        (5, SERVING, [], 1),
        (4, SERVING[:4], [drains(group("new", 9))], 1),
        (5, SERVING[:4], [], 0),
        (5, [*SERVING[:2], *map(waiting, (2, 3, 4))], [], 1),
        (5, [SERVING[0], evicted(1), *map(waiting, (2, 3, 4))], [], 0),
        (3, [group("new", 0, ready=False, created=NOW - 60), *SERVING[1:3]], [], 0),
    ],
    ids=["the only one", "all serve", "another drains", "one is gone", "three have no place", "and one was evicted",
         "one starts"],
)  # fmt: skip
def test_how_many_may_be_evicted(asked, groups, leaving, allowed):
    made = rendered(asking(deployment(autoscaling={"maxReplicas": 40}), asked), *groups)
    pods = [body for each in (*groups, *leaving) for body in each.pods]
    assert disruption.status(made, pods, 99, NOW)["disruptionsAllowed"] == allowed


def test_the_budget_follows_what_is_asked_for():
    asked = deployment(autoscaling={"maxReplicas": 40})
    assert [budget(asking(asked, number))["minAvailable"] for number in (1, 2, 9)] == [0, 1, 8]
    assert "maxUnavailable" not in budget(asked)


def test_without_autoscaling_one_pod_may_be_unavailable():
    assert budget(deployment(replicas=3))["maxUnavailable"] == 1
    assert "minAvailable" not in budget(deployment(replicas=3))
