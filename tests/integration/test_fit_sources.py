"""A verdict for models that nobody has mounted: from Manta's catalog, a user's, and a hub; none of them rolls out."""

import json

import pytest
import yaml
from fetch_hub import FakeHub
from operator_world import World
from small_model import CONFIG, safetensors

from manta_operator.api import names
from manta_operator.facts import catalog

pytestmark = pytest.mark.integration

SHORT = {"engine": {"maxModelLen": 2048}}
OWN = (names.OPERATOR_NAMESPACE, names.CATALOG)


@pytest.fixture
async def world(tmp_path):
    world = World(tmp_path / "world")
    world.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OWN[0]}})
    yield world
    await world.stop()


def fit(world, name):
    return world.status(name)["fit"]


async def until_fits(world, name, fits):
    await world.until(f"{name}: fits {fits}", lambda: fit(world, name)["fits"] == fits)
    return fit(world, name)


async def test_catalogs_inform_and_roll_nothing_out(world):
    await world.start()
    shipped = min((name for name in catalog.entries() if "0.5B" in name or "0.6B" in name), default=None)
    assert shipped is not None, "the catalog has a small model"
    world.make("shipped", model={"uri": f"hf://{shipped}"}, **SHORT)
    assert (await until_fits(world, "shipped", "True"))["basis"] == "catalog"

    world.make("own", model={"uri": "s3://bucket/own"}, **SHORT)
    assert "cannot be seen from here" in (await until_fits(world, "own", "Unknown"))["message"]
    await world.serving("own")
    before = await world.still("own")
    groups = world.groups("own")
    revision = world.status("own")["revision"]
    models = {"s3://bucket/own": {"config": CONFIG}, "no name": {}}
    metadata = {"namespace": OWN[0], "name": OWN[1]}
    data = {"models.yaml": yaml.safe_dump(models)}
    world.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    told = await until_fits(world, "own", "True")
    assert (world.groups("own"), world.status("own")["revision"]) == (groups, revision)
    after = await world.still("own")
    changed = {name for name, version in after.items() if before.get(name) != version}
    assert changed == {"LLMDeployment/own"}, "only its status was written"
    events = [event for event in world.cluster.list("Event", OWN[0]) if event["involvedObject"]["name"] == OWN[1]]
    assert [("no name" in event["message"], event["reason"]) for event in events] == [(True, "InvalidEntry")]

    await world.kill_operator()
    world.cluster.delete("ConfigMap", *OWN)
    world.start_operator()
    await world.until("it judges again", lambda: world.log.count("each replica is") >= 2)
    assert await world.still("own") == after
    assert fit(world, "own") == told


async def test_a_hub_is_asked_with_the_token_of_the_deployment_and_nobody_else_sees_it(world):
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": safetensors()}
    with FakeHub(files, token="s3cret") as hub:
        world.arguments = [f"--hub={hub.endpoint}", "--read-secrets"]
        await world.start()
        secret = {"metadata": {"namespace": "default", "name": "hub"}, "data": {"HF_TOKEN": "czNjcmV0"}}
        world.cluster.create({"apiVersion": "v1", "kind": "Secret", "type": "Opaque"} | secret)
        model = {"uri": "hf://org/model", "endpoint": hub.endpoint}
        world.make("known", model=model | {"credentialsSecret": "hub"}, **SHORT)
        assert (await until_fits(world, "known", "True"))["basis"] == "checkpoint"
        world.make("gated", model=model, **SHORT)
        assert "answers 401" in (await until_fits(world, "gated", "Unknown"))["message"]
        world.make("elsewhere", model=model | {"endpoint": "http://127.0.0.1:9"}, **SHORT)
        assert "not among the hubs" in (await until_fits(world, "elsewhere", "Unknown"))["message"]
        assert not hub.leaked
        assert hub.sent < 200_000, "it has read the weights"
        await world.serving("gated")
        assert (await world.end_operator())[0] == 0
