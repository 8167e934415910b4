"""From one LLMDeployment to its children: what exactly is made, to whom it belongs, and when it is called Ready."""

import re

from cluster_space import CHILD_KINDS

LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/managed-by")


def test_children_are_exactly_what_the_documentation_lists(space):
    """One LLMDeployment of two replicas becomes these objects and no other."""
    space.make("demo", replicas=2)
    space.serving("demo")
    revision = space.status("demo")["revision"]
    found = {(each["kind"], each["metadata"]["name"]) for each in space.children("demo")}
    (config,) = {name for kind, name in found if kind == "ConfigMap" and re.fullmatch("demo-router-[0-9a-f]{8}", name)}
    assert found - {("Secret", "demo-group")} == {
        ("ServiceAccount", "demo-router"),
        ("Role", "demo-router"),
        ("RoleBinding", "demo-router"),
        ("ConfigMap", config),
        ("ConfigMap", "demo-router-tenants"),
        ("Service", "demo"),
        ("Service", "demo-group"),
        ("PodDisruptionBudget", "demo-engine"),
        ("PodDisruptionBudget", "demo-router"),
        ("NetworkPolicy", "demo-engine"),
        ("NetworkPolicy", "demo-router"),
        ("StatefulSet", f"demo-{revision}-0"),
        ("StatefulSet", f"demo-{revision}-1"),
        ("Deployment", "demo-router"),
    }
    assert len(space.pods("demo")) == 2
    assert len(space.pods("demo", "router")) == 1


def test_every_child_is_owned_and_labelled(space):
    """Every child has one controller, the LLMDeployment, and the standard labels; none has the user's labels."""
    body = space.body("demo")
    body["metadata"]["labels"] = {"team": "search", "argocd.argoproj.io/instance": "x"}
    made = space.cluster.create(body)
    space.serving("demo")
    children = space.children("demo")
    assert {each["kind"] for each in children} >= set(CHILD_KINDS) - {"Secret"}
    for each in children:
        meta = each["metadata"]
        [owner] = meta["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (made["metadata"]["uid"], True, True)
        assert meta["labels"]["app.kubernetes.io/instance"] == "demo"
        assert all(meta["labels"][label] for label in LABELS)
        assert "team" not in meta["labels"]
        assert "argocd.argoproj.io/instance" not in meta["labels"]


def test_a_group_of_several_pods_is_one_replica(space):
    """A replica of two pods is one StatefulSet of two, started in parallel, its head first by index."""
    space.make("demo", parallelism={"tensor": 2}, accelerator={"type": "cpu", "perPod": 1})
    space.serving("demo")
    [group] = space.children("demo", "StatefulSet")
    assert (group["spec"]["replicas"], group["spec"]["podManagementPolicy"]) == (2, "Parallel")
    assert space.status("demo")["replicas"] == 1
    heads = space.list("Pod", **dict(pair.split("=") for pair in space.status("demo")["selector"].split(",")))
    assert [pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] for pod in heads] == ["0"]


def test_ready_follows_the_pods(space):
    """Starting, then Available with the first replica, then Ready with the last: each said while it is so."""
    space.played.hold("demo-")
    space.make("demo", replicas=2)
    space.becomes("demo", "Progressing", "True", "Starting")
    assert (said := space.judged("demo", "Planned"))["reason"] in ("Planned", "FitUnknown"), said
    assert space.judged("demo", "Ready")["status"] == "False"
    assert space.judged("demo", "Available")["status"] == "False"
    first, second = space.until("two groups are there", lambda: len(found := space.groups("demo")) == 2 and found)
    space.played.let("demo-router")
    space.played.let(first)
    space.becomes("demo", "Available", "True")
    assert space.judged("demo", "Ready")["status"] == "False"
    space.played.let(second)
    served = space.serving("demo")
    assert space.judged("demo", "Progressing")["reason"] == "Settled"
    status = served["status"]
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (2, 2, 1)
    assert status["endpoint"] == f"http://demo.{space.name}.svc:8000/v1"


def test_pods_go_where_the_spec_sends_them(space):
    """Engines and routers run on the nodes that spec.scheduling and spec.router.scheduling select, taints tolerated."""
    space.make("demo")
    space.serving("demo")
    nodes = {pod["spec"]["nodeName"] for pod in (*space.pods("demo"), *space.pods("demo", "router"))}
    assert nodes == {f"{space.name}-a"}


def test_what_cannot_be_scheduled_says_why(space):
    """A pod that fits nowhere is told of in the conditions with the scheduler's own words."""
    space.make("demo", engine={"resources": {"cpu": "4096"}})
    told = space.until(
        "the scheduler is quoted",
        lambda: "nsufficient cpu" in (found := space.judged("demo", "Available"))["message"] and found,
    )
    assert told["status"] == "False"


def test_what_cannot_be_planned_touches_nothing(space):
    """A spec that cannot be served is refused in Planned with field and remedy; what serves goes on serving."""
    space.make("demo")
    space.serving("demo")
    before = space.still("demo")
    space.change("demo", parallelism={"tensor": 3})
    planned = space.becomes("demo", "Planned", "False", "InvalidSpec")
    assert planned["message"].startswith("spec.parallelism.tensor: ")
    assert space.judged("demo", "Available")["status"] == "True"
    after = space.still("demo")
    del before["LLMDeployment/demo"], after["LLMDeployment/demo"]
    assert after == before
    space.change("demo", parallelism={"tensor": None})
    space.serving("demo")


def test_two_in_one_namespace_do_not_disturb_each_other(space):
    """A change of one LLMDeployment writes nothing to the children of its neighbour."""
    space.make("left")
    space.make("right")
    space.serving("left")
    space.serving("right")
    before = space.still("left")
    space.change("right", engine={"maxModelLen": 512})
    space.serving("right")
    assert space.still("left") == before
