"""The token of a deployment's groups: made once by a process, never read, made again when a pod says that it lacks."""

import pytest
from one_deployment import KEY, OneDeployment

from manta_operator.controller.errors import Forbidden

SECRET = ("Secret", "default", "demo-group")


@pytest.fixture
def one():
    one = OneDeployment()
    one.change(parallelism={"tensor": 2}, accelerator={"type": "cpu", "perPod": 1})
    return one


def token(one):
    return one.cluster.get(*SECRET)["data"]["token"]


def again(one):
    """The operator's next process."""
    later = OneDeployment()
    later.client.cluster = later.cluster = one.cluster
    return later


def say(one, message, reason="CreateContainerConfigError"):
    """A pod of the first group says why it does not start."""
    waiting = {"name": "engine", "ready": False, "restartCount": 0, "image": "i", "imageID": ""}
    waiting["state"] = {"waiting": {"reason": reason, "message": message}}
    one.pod(one.groups()[0], phase="Pending", containerStatuses=[waiting])


async def test_it_is_made_once_by_a_process_and_stays(one):
    await one.run()
    assert one.client.writes["create Secret"] == 1
    made = token(one)
    assert len(made) > 40
    await one.run()
    assert one.client.writes == {}
    later = again(one)
    await later.run()
    assert later.client.writes["create Secret"] == 1
    await later.run()
    assert later.client.writes == {}
    assert token(one) == made


async def test_nothing_about_secrets_is_ever_read(one):
    await one.settle()
    await again(one).settle()
    assert not [what for what in one.client.reads if "Secret" in what]


async def test_it_is_there_before_the_first_group(one):
    one.client.refuse["Secret"] = Forbidden("create Secret default/demo-group: no")
    await one.run()
    assert one.cluster.list("StatefulSet", "default") == []
    assert one.condition("Reconciled")["reason"] == "Forbidden"
    one.client.refuse.clear()
    await one.settle()
    assert token(one)


@pytest.mark.parametrize(
    "words", ['secret "demo-group" not found', "env GROUP_TOKEN: Secret default/demo-group does not exist: create it"]
)
async def test_a_pod_that_lacks_it_has_it_made_again(one, words):
    await one.settle()
    before = token(one)
    one.cluster.delete(*SECRET)
    await one.run()
    assert one.cluster.find(*SECRET) is None, "nobody has noticed"
    say(one, words)
    await one.run()
    assert token(one) != before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ('secret "hub" not found', "CreateContainerConfigError"),
        ('secret "demo-group-2" not found', "CreateContainerConfigError"),
        ("couldn't find key token in Secret default/demo-group", "CreateContainerConfigError"),
        ('it said: secret "demo-group" not found', "CrashLoopBackOff"),
    ],
)
async def test_other_words_make_nothing(one, words, reason):
    await one.settle()
    say(one, words, reason)
    await one.run()
    assert one.client.writes["create Secret"] == 0


async def test_a_foreign_secret_of_its_name_is_left_alone(one):
    metadata = {"name": "demo-group", "namespace": "default"}
    made = one.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"x": "eA=="}})
    await one.settle()
    assert one.cluster.get(*SECRET) == made


async def test_it_belongs_to_the_deployment_and_to_the_service_that_orphaning_leaves(one):
    """So the garbage collector takes it when both are gone, and a successor that adopts the Service keeps it."""
    await one.settle()
    service = one.cluster.get("Service", "default", "demo-group")["metadata"]["uid"]
    owners = one.cluster.get(*SECRET)["metadata"]["ownerReferences"]
    mine = one.cluster.get("LLMDeployment", *KEY)["metadata"]["uid"]
    assert [(owner["uid"], owner.get("controller", False)) for owner in owners] == [(mine, True), (service, False)]


async def test_a_single_pod_needs_none():
    one = OneDeployment()
    await one.settle()
    assert one.cluster.find(*SECRET) is None
