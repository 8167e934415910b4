"""The real operator on a real API server: whose the children are, and how they leave. See operator_world.py."""

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


async def test_an_object_of_somebody_else_is_not_touched(world):
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken", "namespace": "default"},
        "spec": {"selector": {"app": "old"}, "ports": [{"port": 80}]},
    }
    made = world.cluster.create(foreign)
    world.make("taken")
    said = await world.until(
        "it says so", lambda: (found := world.judged("taken", "Reconciled"))["reason"] == "NotOwned" and found
    )
    assert "Service default/taken" in said["message"]
    assert world.judged("taken", "Ready")["status"] == "False"
    assert world.cluster.get("Service", "default", "taken") == made
    world.cluster.delete("Service", "default", "taken")
    await world.serving("taken")
    assert world.cluster.get("Service", "default", "taken")["metadata"]["uid"] != made["metadata"]["uid"]


async def test_of_two_that_want_one_name_the_first_has_it(world):
    """`pair` wants a Service `pair-group` for its groups; `pair-group` one for its router."""
    world.make("pair")
    await world.serving("pair")
    before = world.cluster.get("Service", "default", "pair-group")
    world.make("pair-group")
    said = await world.until(
        "it says so", lambda: (found := world.judged("pair-group", "Reconciled"))["reason"] == "NotOwned" and found
    )
    assert "Service default/pair-group exists already and belongs to LLMDeployment pair" in said["message"]
    await asyncio.sleep(RESYNC_SECONDS)
    assert world.cluster.get("Service", "default", "pair-group") == before
    assert world.judged("pair", "Ready")["status"] == "True"
    world.cluster.delete("LLMDeployment", "default", "pair")
    await world.serving("pair-group")


async def test_orphans_are_adopted_by_their_successor_and_go_with_it(world):
    several = {"parallelism": {"tensor": 2}, "accelerator": {"type": "cpu", "perPod": 1}}
    world.make("orphan", **several)
    await world.serving("orphan")
    kinds = (*CHILD_KINDS, "Secret")
    before = {child["metadata"]["uid"] for child in world.children("orphan", *kinds)}
    token = world.cluster.get("Secret", "default", "orphan-group")["data"]
    finalizers = world.cluster.get("LLMDeployment", "default", "orphan")["metadata"]["finalizers"]
    world.cluster.patch("LLMDeployment", "default", "orphan", {"metadata": {"finalizers": [*finalizers, "orphan"]}})
    world.cluster.delete("LLMDeployment", "default", "orphan")  # now as with --cascade=orphan
    await world.until("it is gone", lambda: world.cluster.find("LLMDeployment", "default", "orphan") is None)
    assert {child["metadata"]["uid"] for child in world.children("orphan", *kinds)} == before

    made = world.make("orphan", **several)
    await world.serving("orphan")
    children = world.children("orphan", *kinds)
    assert {child["metadata"]["uid"] for child in children} == before
    owners = {owner["uid"] for child in children for owner in child["metadata"]["ownerReferences"]}
    assert owners == {
        made["metadata"]["uid"],
        world.cluster.get("Service", "default", "orphan-group")["metadata"]["uid"],
    }
    assert world.cluster.get("Secret", "default", "orphan-group")["data"] == token

    world.cluster.delete("LLMDeployment", "default", "orphan")
    await world.until("nothing is left", lambda: not world.children("orphan", *kinds, "Pod"))


async def test_a_token_that_was_deleted_is_made_again_when_a_pod_says_so(world):
    world.make("token", parallelism={"tensor": 2}, accelerator={"type": "cpu", "perPod": 1})
    await world.serving("token")
    place = ("Secret", "default", "token-group")
    before = world.cluster.get(*place)["data"]
    world.cluster.delete(*place)
    pod = world.children("token", "Pod")[0]["metadata"]["name"]
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "token-group" not found'}
    container = {"name": "engine", "ready": False, "restartCount": 1, "image": "i", "imageID": ""}
    world.cluster.patch_status(
        "Pod", "default", pod, {"status": {"containerStatuses": [container | {"state": {"waiting": waiting}}]}}
    )
    made = await world.until("it is made again", lambda: world.cluster.find(*place))
    assert made["data"] != before


async def test_the_router_leaves_before_the_groups(world):
    world.make("leave", replicas=2)
    await world.serving("leave")
    engines = f"leave-{world.status('leave')['revision']}-"
    world.linger |= {"leave-router-", engines}
    world.cluster.delete("LLMDeployment", "default", "leave")
    await world.until("the router goes", lambda: not world.children("leave", "Deployment"))
    await asyncio.sleep(0.7)
    assert len(world.groups("leave")) == 2, "its pods still finish what is in flight"
    world.linger.discard("leave-router-")
    await world.until("the groups go", lambda: not world.children("leave", "StatefulSet"))
    await asyncio.sleep(0.7)
    assert world.cluster.find("LLMDeployment", "default", "leave"), "engines drain"
    assert world.cluster.find("Service", "default", "leave")
    world.linger.clear()
    await world.until("it is gone", lambda: world.cluster.find("LLMDeployment", "default", "leave") is None)
    await world.until("no child is left", lambda: not world.children("leave", *CHILD_KINDS, "Pod"))


async def test_deletion_takes_every_child_along(world):
    world.make("gone", replicas=2)
    await world.serving("gone")
    world.cluster.delete("LLMDeployment", "default", "gone")
    await world.until("it is gone", lambda: world.cluster.find("LLMDeployment", "default", "gone") is None)
    await world.until("no child is left", lambda: not world.children("gone", *CHILD_KINDS, "Pod"))
    # The name is free again, for another object with another uid.
    world.make("gone")
    await world.serving("gone")


async def test_the_operator_has_had_no_trouble(world):
    assert world.operator_runs
    assert "Traceback" not in world.log
    assert "ERROR" not in world.log
