"""Replicas that run and do not serve, and nodes that fall silent."""

import json

from manta_operator.api.names import ANNOTATION_RESTART

SOON = {"startupSeconds": 30}
LONG = 600
"""Seconds after which a node that is not ready is no hiccup."""


def restart_of(space, group):
    """What the annotation on a group says about its restarts; LookupError before there is one."""
    return json.loads(space.get("StatefulSet", group)["metadata"]["annotations"][ANNOTATION_RESTART])


def test_a_group_that_does_not_serve_in_time_is_restarted(space):
    """Pods run, and the replica is not ready within engine.startupSeconds: they are replaced, and that is told."""
    space.played.play("demo-", "unready")
    space.played.let("demo-router")
    space.make("demo", engine=SOON)
    [group] = space.until("its group is there", lambda: space.groups("demo"))
    [before] = space.until("its pod is there", lambda: space.pods("demo"))
    restart = space.until("it is restarted", lambda: restart_of(space, group), seconds=100)
    assert restart["count"] == 1
    space.until(
        "the pod is another one",
        lambda: [each["metadata"]["uid"] for each in space.pods("demo")] not in ([], [before["metadata"]["uid"]]),
    )
    space.until("it is told", lambda: any(reason == "Restarting" for _, reason, _ in space.events("demo")))
    space.played.let(group)
    space.serving("demo")


def test_what_keeps_failing_is_said_in_the_pods_own_words(space):
    """A replica that crashes is told of in the conditions with the last words of its pod."""
    space.played.play("demo-", "crashing")
    space.played.let("demo-router")
    space.make("demo")
    told = space.until(
        "the pod is quoted",
        lambda: "CUDA out of memory" in (found := space.judged("demo", "Available"))["message"] and found,
    )
    assert told["status"] == "False"


def test_a_replica_on_a_lost_node_is_replaced(space):
    """The node of one replica falls silent: another replica is started on another node, the lost one is taken out."""
    other = space.played.add_node("b", **{"manta.dev/which": "b"})
    space.make("demo", replicas=2)
    space.serving("demo")
    lost = {
        pod["metadata"]["labels"]["manta.dev/replica"] for pod in space.pods("demo") if pod["spec"]["nodeName"] == other
    }
    if not lost:  # the scheduler put both on one node
        space.cluster.patch("Node", None, f"{space.name}-a", {"spec": {"unschedulable": True}})
        for pod in space.pods("demo"):
            space.cluster.delete("Pod", space.name, pod["metadata"]["name"])
        space.until("they are on the other", lambda: {p["spec"].get("nodeName") for p in space.pods("demo")} == {other})
        space.cluster.patch("Node", None, f"{space.name}-a", {"spec": {"unschedulable": None}})
        space.serving("demo")
    before = {pod["metadata"]["uid"] for pod in space.pods("demo") if pod["spec"]["nodeName"] == other}
    # Where most nodes are lost, nobody moves: so there are more, which run nothing.
    for suffix in ("c", "d"):
        name = space.played.add_node(suffix)
        space.cluster.patch("Node", None, name, {"spec": {"unschedulable": True}})
    space.played.lose(other, since=LONG)
    space.until(
        "all replicas are on the other node",
        lambda: [pod["spec"].get("nodeName") for pod in space.pods("demo")] == [f"{space.name}-a"] * 2,
        seconds=120,
    )
    space.until("both serve", lambda: space.status("demo")["readyReplicas"] == 2)
    assert not before & {pod["metadata"]["uid"] for pod in space.pods("demo")}
    space.until("it is told", lambda: {"Replacing", "NodeLost"} & {reason for _, reason, _ in space.events("demo")})
    space.played.find(other)
    space.serving("demo")


def test_a_deleted_pod_comes_back_without_a_restart_of_its_replica(space):
    """A pod that somebody deletes is made again by its StatefulSet; the replica is the same object."""
    space.make("demo")
    space.serving("demo")
    [group] = space.children("demo", "StatefulSet")
    [pod] = space.pods("demo")
    space.cluster.delete("Pod", space.name, pod["metadata"]["name"])
    space.until(
        "another pod serves",
        lambda: [each["metadata"]["uid"] for each in space.pods("demo")] not in ([], [pod["metadata"]["uid"]]),
    )
    space.serving("demo")
    [after] = space.children("demo", "StatefulSet")
    assert after["metadata"]["uid"] == group["metadata"]["uid"]
    assert ANNOTATION_RESTART not in (after["metadata"].get("annotations") or {})
