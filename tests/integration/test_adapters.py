"""LoRA adapters at run time: launchers with simulated engines, their fetching containers, and a hub on a local port."""

import json
import os
import signal

import pytest
from adapter_pods import AdapterGroup
from fetch_hub import FakeHub
from lora import adapter_files, write_adapter

TOKEN = "hf_only-the-fetch-may-see-this"
URI = "hf://org/model"


@pytest.fixture
def hub():
    with FakeHub(adapter_files(1)) as hub:
        yield hub


def net_of(worker_id: str) -> int:
    """Addresses of this test process alone."""
    return 10 + int(worker_id.removeprefix("gw") or 0) if worker_id != "master" else 1


@pytest.fixture
def net():
    return net_of(os.environ.get("PYTEST_XDIST_WORKER", "master"))


async def test_adapters_come_and_go_while_the_engine_serves(hub, tmp_path, net):
    async with AdapterGroup(tmp_path, net) as group:
        await group.until_ready()
        status, base = await group.ask("tiny")
        assert (status, (await group.ask("poet"))[0]) == (200, 404)
        digest = group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        told = await group.until("poet", "Loaded")
        assert (told["uri"], told["message"]) == (URI, "")
        assert (await group.told())["hash"] == digest
        status, words = await group.ask("poet")
        assert status == 200
        assert words != base
        metrics = await group.metrics()
        assert 'manta_engine_adapter_loaded{adapter="poet"} 1.0' in metrics
        assert 'manta_engine_adapter_loads_total{result="loaded"} 1.0' in metrics
        # The same files under a second name; then the first goes, and both engines and base model serve on.
        both = [group.entry(name, URI, endpoint=hub.endpoint) for name in ("poet", "bard")]
        group.want(*both)
        await group.until("bard", "Loaded")
        assert await group.until_told(group.want(both[1])) == ["bard"]
        assert (await group.ask("poet"))[0] == 404
        assert (await group.ask("bard"))[0] == 200
        assert await group.until_told(group.want()) == []
        assert await group.ask("tiny") == (200, base)
        assert (await group.status())["restarts"] == 0
        assert (await group.readiness())[0] == 200


async def test_a_new_revision_takes_the_name_and_a_bad_one_does_not(hub, tmp_path, net):
    async with AdapterGroup(tmp_path, net) as group:
        await group.until_ready()
        group.want(first := group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until("poet", "Loaded")
        bad = write_adapter(tmp_path / "bad", adapter_files(3, rank=32))
        group.want(group.mounted("poet", bad))
        await group.until("poet", "Failed", "LoRA rank 32 is greater than max_lora_rank 16.; poet of before still")
        assert (await group.ask("poet"))[0] == 200
        group.want(second := group.entry("poet", URI, endpoint=hub.endpoint, revision="v1"))
        assert second["path"] != first["path"]
        await group.until("poet", "Loaded")
        async with group.session.get(f"{group.url}/v1/models") as response:
            models = {model["id"]: model["root"] for model in (await response.json())["data"]}
        assert set(models) == {"tiny", "poet"}
        assert models["poet"] == second["path"]


BAD = {
    "text for weights": ({"adapter_model.safetensors": b"hello"}, "header too small"),
    "half a configuration": ({"adapter_config.json": b"{"}, "Expecting property name"),
    "too high a rank": (adapter_files(2, rank=32), "LoRA rank 32 is greater than max_lora_rank 16."),
    "no configuration": ({"adapter_config.json": None}, "has no adapter_config.json, so it is no LoRA adapter"),
    "no weights": ({"adapter_model.safetensors": None}, "has no weights: none of adapter_model.safetensors"),
}


async def test_a_bad_adapter_is_told_and_costs_nobody_else(tmp_path, net):
    async with AdapterGroup(tmp_path, net) as group:
        entries = [group.mounted("good", write_adapter(tmp_path / "good", adapter_files(5)))]
        for name, (files, _) in BAD.items():
            made = {file: data for file, data in (adapter_files(1) | files).items() if data is not None}
            entries.append(group.mounted(name, write_adapter(tmp_path / name, made)))
        group.want(*entries)
        await group.until_ready()
        await group.until("good", "Loaded")
        for name, (_, words) in BAD.items():
            await group.until(name, "Failed", words)
            assert (await group.ask(name))[0] == 404
        assert (await group.ask("tiny"))[0] == (await group.ask("good"))[0] == 200


async def test_a_new_head_is_ready_when_its_adapters_are(hub, tmp_path, net):
    hub.faults.hold_at = 1000
    async with AdapterGroup(tmp_path, net) as group:
        group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until_ready(503, "its adapters are not loaded yet: poet")
        assert (await group.status())["phase"] == "adapters"
        told = await group.until("poet", "Fetching")
        assert (await group.ask("tiny"))[0] == 200
        hub.faults.hold_at = None
        await group.until_ready()
        assert (await group.ask("poet"))[0] == 200
        assert told["name"] == "poet"


async def test_a_head_waits_for_adapters_no_longer_than_until_its_startup_deadline(hub, tmp_path, net):
    hub.faults.hold_at = 1000
    group = AdapterGroup(tmp_path, net)
    group.startup_seconds = 8
    async with group:
        group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until_ready(503, "its adapters are not loaded yet: poet")
        await group.until_ready()
        assert (await group.ask("poet"))[0] == 404
        assert "ready without these adapters, the startup deadline is over: poet" in group.logs()
        hub.faults.hold_at = None
        await group.until("poet", "Loaded")


async def test_a_list_that_cannot_be_read_changes_nothing(hub, tmp_path, net):
    async with AdapterGroup(tmp_path, net) as group:
        group.want(entry := group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until("poet", "Loaded")
        unsafe = json.dumps({"adapters": [entry | {"key": "../x"}]})
        for count, wrong in enumerate(('{"adapters": [{"na', '{"adapters": {}}', unsafe)):
            group.write(wrong)
            await group.until_said("engine-0", "the list of before stays, with 1 adapters", count + 1)
            assert (await group.ask("poet"))[0] == 200
        group.want()
        await group.until_served("poet", 404)


async def test_credentials_are_the_secrets_and_may_come_late(tmp_path, net):
    with FakeHub(adapter_files(1), token=TOKEN) as hub:
        async with AdapterGroup(tmp_path, net, HF_TOKEN="hf_of-the-model-not-of-the-adapter") as group:
            await group.until_ready()
            group.want(entry := group.entry("poet", URI, endpoint=hub.endpoint, secret="hub"))
            await group.until("poet", "Failed", "Secret hub, which is to fetch hf://org/model, is not in this pod")
            (tmp_path / "secrets/hub").mkdir(parents=True)
            (tmp_path / "secrets/hub/HF_TOKEN").write_text(TOKEN + "\n")
            # Another list is another reason to try at once.
            group.want(entry, group.mounted("other", tmp_path / "nothing"))
            await group.until("poet", "Loaded")
            await group.until("other", "Failed", "there is no folder")
            assert TOKEN not in group.logs()
            assert not hub.leaked


async def test_a_whole_model_is_no_adapter_and_nothing_of_it_is_fetched(tmp_path, net):
    with FakeHub({"config.json": b"{}", "model.safetensors": b"x" * 100_000}) as hub:
        async with AdapterGroup(tmp_path, net) as group:
            group.want(group.entry("poet", URI, endpoint=hub.endpoint))
            await group.until("poet", "Failed", "has no adapter_config.json at its top, so it is no LoRA adapter")
            await group.until_ready()
            assert hub.sent == 0


async def test_a_fetch_that_is_killed_goes_on_in_the_next_container(hub, tmp_path, net):
    hub.faults.hold_at = 1000
    async with AdapterGroup(tmp_path, net) as group:
        await group.until_ready()
        group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until("poet", "Fetching")
        (fetching,) = group.running("adapters")
        fetching.send_signal(signal.SIGKILL)
        await fetching.wait()
        await group.start_adapters(0)
        hub.faults.hold_at = None
        await group.until("poet", "Loaded")


async def test_a_group_of_two_loads_what_both_ranks_have(hub, tmp_path, net):
    async with AdapterGroup(tmp_path, net, size=2) as group:
        group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until("poet", "Loaded")
        await group.until_ready()
        assert (await group.ask("poet"))[0] == 200
