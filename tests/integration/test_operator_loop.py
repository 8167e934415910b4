"""The real operator on a real API server: what it makes, keeps and takes away. The world is in operator_world.py."""

import asyncio

import pytest
import pytest_asyncio
from operator_world import CHILD_KINDS, RESYNC_SECONDS, World

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    """One cluster and operator for all tests; every test has deployments of its own name."""
    world = World(tmp_path_factory.mktemp("operator"))
    try:
        await world.start()
        yield world
    finally:
        await world.stop()


async def test_one_object_becomes_a_service(world):
    world.hold.add("first-")
    made = world.make("first", replicas=2)
    await world.until("it waits for its pods", lambda: world.judged("first", "Progressing")["reason"] == "Starting")
    said = {kind: world.judged("first", kind) for kind in ("Planned", "Available", "Ready")}
    assert {kind: entry["status"] for kind, entry in said.items()} == {
        "Planned": "Unknown",  # nobody knows the checkpoint, and no replica has shown that it fits
        "Available": "False",
        "Ready": "False",
    }
    assert "0 of 2 replicas" in said["Ready"]["message"]

    world.hold.discard("first-")
    served = await world.serving("first")
    assert world.judged("first", "Available")["status"] == "True"
    assert world.judged("first", "Progressing")["reason"] == "Settled"
    assert served["spec"] == made["spec"]
    status = served["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    assert status["endpoint"] == "http://first.default.svc:8000/v1"
    assert status["observedGeneration"] == 1


async def test_children_are_owned_and_labelled(world):
    made = world.make("owner")
    await world.serving("owner")
    children = world.children("owner")
    assert {child["kind"] for child in children} == set(CHILD_KINDS)
    for child in children:
        [owner] = child["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (made["metadata"]["uid"], True)
        assert child["metadata"]["labels"]["app.kubernetes.io/instance"] == "owner"
        assert child["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "manta"


async def test_printer_columns_and_the_scale_selector_say_something(world):
    world.make("columns", replicas=2)
    served = await world.serving("columns")
    [version] = world.cluster.get("CustomResourceDefinition", None, "llmdeployments.manta.dev")["spec"]["versions"]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    for path in paths:
        if "[" not in path:
            value = served
            for part in path.strip(".").split("."):
                value = value[part]
            assert value not in (None, "")
    heads = dict(pair.split("=") for pair in served["status"]["selector"].split(","))
    assert len(world.cluster.list("Pod", "default", heads)) == 2


async def test_nothing_is_written_when_nothing_changes(world):
    world.make("still", replicas=2)
    await world.serving("still")
    before = await world.still("still")
    await asyncio.sleep(2 * RESYNC_SECONDS + 1)
    assert world.versions("still") == before


DRIFT = {
    "Service": {"spec": {"selector": {"manta.dev/deployment": "x"}}},
    "ConfigMap": {"data": {"router.yaml": "broken"}},
    # The key of a list changed: applying ours beside it is refused, for two ports have one name.
    "Service, a port": {"spec": {"ports": [{"name": "http", "port": 9999, "targetPort": "http"}]}},
    "ServiceAccount": {"metadata": {"labels": {"app.kubernetes.io/instance": "x"}}},
    "Role": {"rules": []},
    "RoleBinding": {"subjects": []},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 7}},
    "NetworkPolicy": {"spec": {"ingress": []}},
    "StatefulSet": {"spec": {"replicas": 3}},
    "Deployment": {"spec": {"replicas": 3}},
}


@pytest.mark.parametrize("what", DRIFT)
async def test_drift_of_every_kind_is_undone_at_once(world, what):
    if world.cluster.find("LLMDeployment", "default", "drift") is None:
        world.make("drift")
    await world.serving("drift")
    kind, patch = what.partition(",")[0], DRIFT[what]
    good = world.children("drift", kind)[0]
    place = (kind, "default", good["metadata"]["name"])
    changed = world.cluster.patch(*place, patch)
    assert said(changed) != said(good)
    await world.until("the drift is undone", lambda: said(world.cluster.get(*place)) == said(good))


def said(body):
    """What an apply could change of a child."""
    parts = {name: value for name, value in body.items() if name not in ("kind", "apiVersion", "metadata", "status")}
    return parts | {"labels": body["metadata"]["labels"]}


async def test_drift_is_tried_of_every_kind():
    assert {what.partition(",")[0] for what in DRIFT} == set(CHILD_KINDS)


@pytest.mark.parametrize("kind", CHILD_KINDS)
async def test_a_deleted_child_comes_back(world, kind):
    if world.cluster.find("LLMDeployment", "default", "deleted") is None:
        world.make("deleted")
    await world.serving("deleted")
    child = world.children("deleted", kind)[0]["metadata"]
    world.cluster.delete(kind, "default", child["name"])

    def back():
        # Of its name, but for groups: that name is taken until the pods of the old one are gone.
        others = [
            each["metadata"] for each in world.children("deleted", kind) if each["metadata"]["uid"] != child["uid"]
        ]
        return [each for each in others if kind == "StatefulSet" or each["name"] == child["name"]]

    await world.until(f"{kind} {child['name']} is back", back)
    await world.serving("deleted")


async def test_a_rollout_keeps_the_old_group_until_the_new_one_serves(world):
    world.make("roll")
    await world.serving("roll")
    [old] = world.groups("roll")
    world.hold.add("roll-")
    world.change("roll", engine={"maxModelLen": 512})
    await world.until("a new group stands beside the old one", lambda: len(world.groups("roll")) == 2)
    await asyncio.sleep(RESYNC_SECONDS + 1)
    assert old in world.groups("roll")
    assert world.judged("roll", "Available")["status"] == "True"
    assert world.judged("roll", "Progressing")["status"] == "True"
    assert "RollingOut" in [decision["reason"] for decision in world.status("roll")["decisions"]]

    world.hold.discard("roll-")
    served = await world.serving("roll")
    [new] = world.groups("roll")
    assert new == f"roll-{served['status']['revision']}-0" != old


async def test_going_back_mid_rollout_leaves_the_old_group_alone(world):
    world.make("back")
    await world.serving("back")
    [old] = world.children("back", "StatefulSet")
    world.hold.add("back-")
    world.change("back", engine={"maxModelLen": 512})
    await world.until("a new group stands beside the old one", lambda: len(world.groups("back")) == 2)
    world.change("back", engine={"maxModelLen": None})
    await world.until("the new group is gone", lambda: len(world.groups("back")) == 1)
    world.hold.discard("back-")
    await world.serving("back")
    [kept] = world.children("back", "StatefulSet")
    assert kept["metadata"]["uid"] == old["metadata"]["uid"]


async def test_scaling_up_down_and_to_zero(world):
    world.make("scale")
    await world.serving("scale")
    revision = world.status("scale")["revision"]
    for replicas in (3, 1, 0, 2):
        await world.scale("scale", replicas)
        await world.until("they are counted", lambda: world.status("scale")["readyReplicas"] == replicas)  # noqa: B023
        served = await world.serving("scale")
        status = served["status"]
        assert world.groups("scale") == [f"scale-{revision}-{index}" for index in range(replicas)]
        assert (status["replicas"], status["readyReplicas"], status["revision"]) == (replicas, replicas, revision)
        wanted = ("True", "Serving") if replicas else ("False", "ScaledToZero")
        available = world.judged("scale", "Available")
        assert (available["status"], available["reason"]) == wanted
        assert served["spec"]["replicas"] == replicas


async def test_what_cannot_be_planned_changes_nothing_until_it_is_mended(world):
    world.make("plan")
    await world.serving("plan")
    before = await world.still("plan")
    world.change("plan", parallelism={"tensor": 3})
    planned = await world.until(
        "it cannot be planned",
        lambda: (found := world.judged("plan", "Planned"))["status"] == "False" and found,
    )
    assert planned["reason"] == "InvalidSpec"
    assert planned["message"].startswith("spec.parallelism.tensor: ")
    assert world.judged("plan", "Ready")["status"] == "False"
    assert world.judged("plan", "Available")["status"] == "True"
    await asyncio.sleep(RESYNC_SECONDS + 1)
    after = world.versions("plan")
    assert {key: after[key] for key in before if key != "LLMDeployment/plan"} == {
        key: before[key] for key in before if key != "LLMDeployment/plan"
    }
    world.change("plan", parallelism={"tensor": 2})
    await world.serving("plan")
    [group] = world.children("plan", "StatefulSet")
    assert "--tensor-parallel-size=2" in group["spec"]["template"]["spec"]["containers"][0]["args"]


async def test_why_a_pod_does_not_start_is_in_the_conditions(world):
    world.make("huge", engine={"resources": {"cpu": "4096"}})
    told = await world.until(
        "it says why",
        lambda: "Unschedulable" in (found := world.judged("huge", "Available"))["message"] and found["message"],
    )
    assert "pod huge-" in told
    world.cluster.delete("LLMDeployment", "default", "huge")


async def test_two_at_once_do_not_disturb_each_other(world):
    world.make("left")
    world.make("right", replicas=2)
    await world.serving("left")
    await world.serving("right")
    before = await world.still("left")
    world.change("right", replicas=1, engine={"maxModelLen": 512})
    await world.serving("right")
    await world.until("the old groups are gone", lambda: len(world.groups("right")) == 1)
    assert world.versions("left") == before


async def test_the_operator_has_had_no_trouble(world):
    assert world.operator_runs
    assert "Traceback" not in world.log
    assert "ERROR" not in world.log
