"""What is known later neither rolls out, deletes nor freezes what was started: ready or not, new operator or old."""

import pytest
import yaml
from operator_world import World

from manta_operator.api import names
from manta_operator.api.crd import custom_resource_definition
from manta_operator.box.apiserver.operations import Operations
from manta_operator.box.cluster import ApiError

pytestmark = pytest.mark.integration

WIDE = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}
OWN = (names.OPERATOR_NAMESPACE, names.CATALOG)
KINDS = "nvidia-l4: {products: [NVIDIA-L4, NVIDIA-L4-X]}\nacme-npu: {resource: acme.example/npu, memoryGiB: 64}\n"
TYPO = "nvidia-l4: {products: [NVIDIA-L4, NVIDIA-L4-X]\n acme-npu: {resource"


@pytest.fixture
async def world(tmp_path):
    world = World(tmp_path / "world")
    world.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OWN[0]}})
    yield world
    await world.stop()


def say(world, data):
    if world.cluster.find("ConfigMap", *OWN):
        world.cluster.patch("ConfigMap", *OWN, {"data": data})
        return
    metadata = {"namespace": OWN[0], "name": OWN[1]}
    world.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def planned(world, name):
    [found] = [each for each in world.status(name)["conditions"] if each["type"] == "Planned"]
    return found


def made(world, *deployments):
    return {name: (world.groups(name), world.status(name).get("revision")) for name in deployments}


async def started(world, *deployments):
    """Wait until the pods of each are made, and its status remembers that."""
    for name in deployments:
        await world.until(
            f"{name} is started",
            lambda name=name: world.groups(name) and world.status(name)["shape"].get("started"),
        )
    return made(world, *deployments)


def as_of_an_older_manta(world, name):
    """Write the status as a Manta of before wrote it: one hash, flat numbers, nothing measured or remembered."""
    shape = world.status(name)["shape"]
    kept = {"fitHash": None, "devices": None, "started": None}
    assert kept.keys() <= shape.keys()
    flat = {"fits": "Unknown", "message": "the checkpoint cannot be seen", "weightsPerRank": 5}
    world.cluster.patch_status("LLMDeployment", "default", name, {"status": {"shape": kept, "fit": flat}})


@pytest.mark.parametrize("older", [False, True], ids=["this version", "upgrade from an older one"])
async def test_facts_that_come_while_replicas_load_replace_none(world, older):
    world.hold = {"loads", "pinned"}
    await world.start()
    model = {"uri": "s3://bucket/wide"}
    world.make("loads", model=model, accelerator={"type": "nvidia-l4"})
    world.make("pinned", model=model, accelerator={"type": "nvidia-l4"}, parallelism={"tensor": 1, "pipeline": 1})
    before = await started(world, "loads", "pinned")
    await world.kill_operator()
    if older:
        as_of_an_older_manta(world, "loads")
        as_of_an_older_manta(world, "pinned")
    say(world, {"models.yaml": yaml.safe_dump({model["uri"]: {"config": WIDE}})})
    world.start_operator()
    for name in before:
        await world.until(f"{name} is judged", lambda name=name: planned(world, name)["reason"] == "DoesNotFit")
        assert "left as they are" in planned(world, name)["message"]
        await world.still(name)
    assert made(world, *before) == before
    world.change("loads", replicas=2)
    await world.until("it is scaled all the same", lambda: len(world.groups("loads")) == 2)
    assert made(world, "loads")["loads"][1] == before["loads"][1]
    world.change("loads", parallelism={"tensor": 8})
    await world.until("a new spec is planned anew", lambda: planned(world, "loads")["reason"] != "DoesNotFit")


async def unmoved(world, before, replicas):
    """Scale what runs on a kind of the catalog's: it is done, and nothing else is."""
    world.change("own", replicas=replicas)
    await world.until(f"{replicas} replicas", lambda: len(world.groups("own")) == replicas)
    await world.still("l4")
    assert made(world, "l4")["l4"] == before["l4"]
    assert made(world, "own")["own"][1] == before["own"][1]


@pytest.fixture
async def before(world):
    """The operator is away; it has started two deployments on what a catalog says."""
    say(world, {"accelerators.yaml": KINDS})
    await world.start()
    world.make("own", accelerator={"type": "acme-npu"})
    world.make("l4", accelerator={"type": "nvidia-l4"})
    found = await started(world, "own", "l4")
    await world.kill_operator()
    return found


async def test_a_catalog_that_is_forbidden_changes_nothing(world, before, monkeypatch):
    read, refused = Operations.read, []

    def forbid(self, resource, namespace, name, *args, **kwargs):
        if (resource.plural, name) == ("configmaps", OWN[1]):
            refused.append(name)
            raise ApiError(403, "Forbidden", "configmaps is forbidden")
        return read(self, resource, namespace, name, *args, **kwargs)

    monkeypatch.setattr(Operations, "read", forbid)
    world.start_operator()
    await world.until("it was told no", lambda: refused)
    await unmoved(world, before, 2)


async def test_a_catalog_that_is_mistyped_or_gone_changes_nothing(world, before):
    say(world, {"accelerators.yaml": TYPO})
    world.start_operator()
    await world.until("the typo is told", lambda: "not valid YAML" in world.log)
    await unmoved(world, before, 2)
    await world.kill_operator()
    world.cluster.delete("ConfigMap", *OWN)
    world.start_operator()
    await unmoved(world, before, 1)


async def test_a_crd_of_an_older_manta_is_waited_for_and_named(world):
    await world.start()
    world.make("demo")
    before = await started(world, "demo")
    await world.kill_operator()
    crd = custom_resource_definition()
    older = custom_resource_definition()
    status = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    del status["shape"]["properties"]["started"]
    world.cluster.patch("CustomResourceDefinition", None, crd["metadata"]["name"], {"spec": older["spec"]})
    world.start_operator()
    await world.until("it says what lacks", lambda: "it has no status.shape.started" in world.log)
    assert world.operator_runs
    world.change("demo", replicas=2)
    world.cluster.patch("CustomResourceDefinition", None, crd["metadata"]["name"], {"spec": crd["spec"]})
    await world.until("it works", lambda: len(world.groups("demo")) == 2)
    assert made(world, "demo")["demo"][1] == before["demo"][1]
