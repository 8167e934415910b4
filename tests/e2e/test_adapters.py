"""LoRA adapters on real vLLM: the tiny model with adapters made here, in one pod and in a group of two."""

import asyncio
import json
from pathlib import Path

import psutil
import pytest
from adapter_pods import AdapterGroup
from fetch_hub import FakeHub
from lora import adapter_files, write_adapter
from running import only_all

pytestmark = only_all

URI = "hf://org/model"
BAD = {
    "rank": (adapter_files(2, rank=32), "LoRA rank 32 is greater than max_lora_rank 16."),
    "shapes": (adapter_files(3, wide=2), "has 512 inputs, the model's 256: it was made for another model"),
    "narrow": (adapter_files(3, wide=0.5), "has 128 inputs, the model's 256: it was made for another model"),
    "text": (adapter_files(4) | {"adapter_model.safetensors": b"hello"}, "header too small"),
    "config": (adapter_files(4) | {"adapter_config.json": b"{"}, "Expecting property name enclosed in double quotes"),
}
LONG = {"model": "poet", "prompt": "What is a manta", "max_tokens": 900, "temperature": 0, "ignore_eos": True}


@pytest.fixture
def hub():
    with FakeHub(adapter_files(1)) as hub:
        yield hub


async def whole(group: AdapterGroup) -> str:
    """The long answer of the adapter `poet`."""
    async with group.session.post(f"{group.url}/v1/completions", json=LONG) as response:
        return (await response.json())["choices"][0]["text"]


async def streamed(group: AdapterGroup, begun: asyncio.Event) -> str:
    """The same in a stream; `begun` is set with its first word."""
    text, last = "", b""
    async with group.session.post(f"{group.url}/v1/completions", json=LONG | {"stream": True}) as response:
        async for line in response.content:
            last = line if line.strip() else last
            if line.startswith(b"data: {"):
                text += json.loads(line[6:])["choices"][0]["text"]
                begun.set()
    assert last == b"data: [DONE]\n"
    return text


async def answers(group: AdapterGroup, folders: dict[str, str]) -> list[tuple[int, str, str]]:
    """What vLLM, or what simulates it, answers to requests about adapters, good ones and others."""
    calls: list[tuple[str, dict[str, object]]] = [
        ("load", {"lora_name": name, "lora_path": path}) for name, path in folders.items()
    ]
    calls += [
        ("load", {"lora_name": "good", "lora_path": folders["good"], **more}) for more in ({}, {"load_inplace": True})
    ]
    calls += [("load", {"lora_name": name, "lora_path": "/mnt/nothing"}) for name in ("tiny", "", "none")]
    calls += [
        ("load", {"lora_path": "/a"}),
        ("load", {"lora_name": "a"}),
        ("unload", {}),
        ("unload", {"lora_name": ""}),
    ]
    calls += [("unload", {"lora_name": "good"})] * 2
    found = []
    for what, body in calls:
        async with group.session.post(f"{group.url}/v1/{what}_lora_adapter", json=body) as response:
            # The simulator does not know what serde and json say of every wrong byte.
            found.append((response.status, response.content_type, (await response.text()).partition(": invalid")[0]))
    return found


async def test_the_life_of_adapters_on_a_real_engine(hub, tmp_path):
    async with AdapterGroup(tmp_path / "real", 60, real=True) as group:
        await group.until_ready()
        base = await group.ask("tiny")
        assert (await group.ask("poet"))[0] == 404
        group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until("poet", "Loaded")
        poem = await group.ask("poet")
        assert (poem[0], base[0]) == (200, 200)
        assert poem[1] != base[1]
        poet = await replaced_under_a_stream(group, hub)
        folders = {name: write_adapter(tmp_path / name, files) for name, (files, _) in BAD.items()}
        await bad_ones_are_told(group, poet, folders, base)
        await started_again(group)
        await removed_under_a_stream(group, base)
        good = str(write_adapter(tmp_path / "good", adapter_files(1)))
        paths = {"good": good} | {name: str(folders[name]) for name in ("rank", "text", "config")}
        async with AdapterGroup(tmp_path / "simulated", 63) as simulated:
            await simulated.until_ready()
            assert await answers(simulated, paths) == await answers(group, paths), "the simulator is found out"


async def replaced_under_a_stream(group: AdapterGroup, hub: FakeHub) -> dict[str, object]:
    """What is in the making ends as it began, what comes after is of the new revision; returns the new entry."""
    poet, entry, other = (
        group.entry(name, URI, endpoint=hub.endpoint, **revision)
        for name, revision in (("poet", {}), ("poet", {"revision": "v1"}), ("other", {"revision": "v1"}))
    )
    hub.files = adapter_files(9)
    await group.until_loaded("other", poet, other)  # so that nothing has to be fetched under the stream
    before, begun = await whole(group), asyncio.Event()
    stream = asyncio.create_task(streamed(group, begun))
    await begun.wait()
    await group.until_loaded("poet", entry)
    assert not stream.done(), "it was to be replaced under a stream: make that longer"
    assert await stream == before
    assert await whole(group) != before
    return entry


async def bad_ones_are_told(
    group: AdapterGroup, poet: dict[str, object], folders: dict[str, Path], base: tuple[int, str]
) -> None:
    """They fail in vLLM's words, and nobody else notices."""
    group.want(poet, *(group.mounted(name, folder) for name, folder in folders.items()))
    for name, (_, words) in BAD.items():
        await group.until(name, "Failed", words)
        assert (await group.ask(name))[0] == 404
    assert await group.ask("tiny") == base
    assert (await group.status())["restarts"] == 0


async def started_again(group: AdapterGroup) -> None:
    """An engine that starts again has its adapters before it is ready."""
    (engine,) = group.running("engine")
    for process in psutil.Process(engine.pid).children(recursive=True):
        process.kill()
    assert await engine.wait() != 0
    await group.start_engine(0)
    await group.until_ready()
    assert (await group.ask("poet"))[0] == 200


async def removed_under_a_stream(group: AdapterGroup, base: tuple[int, str]) -> None:
    """The stream ends well, the next request is told that there is none."""
    begun = asyncio.Event()
    stream = asyncio.create_task(streamed(group, begun))
    await begun.wait()
    assert await group.until_told(group.want()) == []
    assert (await group.ask("poet"))[0] == 404
    assert len(await stream) > len(base[1])
    assert await group.ask("tiny") == base


async def test_nobody_is_refused_while_a_revision_takes_the_place_of_another(hub, tmp_path):
    async with AdapterGroup(tmp_path, 61, real=True) as group:
        group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until_ready()
        ended, refused, served = asyncio.Event(), [], []

        async def keep_asking() -> None:
            while not ended.is_set():
                status, words = await group.ask("poet", 1)
                (served if status == 200 else refused).append((status, words))

        clients = [asyncio.create_task(keep_asking()) for _ in range(4)]
        for revision in ("v1", "main", "v1", "main"):
            await group.until_loaded("poet", group.entry("poet", URI, endpoint=hub.endpoint, revision=revision))
        ended.set()
        await asyncio.gather(*clients)
        print(f"{len(served)} served, {len(refused)} refused: {refused[:3]}")
        assert len(served) > 20
        # A moment of each replacement is nobody's, a few milliseconds where the machine is busy.
        assert len(refused) <= 3 * len(clients)


async def test_both_ranks_of_a_group_load_an_adapter(hub, tmp_path):
    async with AdapterGroup(tmp_path, 62, size=2, real=True) as group:
        await group.until_ready()
        base = await group.ask("tiny")
        group.want(group.entry("poet", URI, endpoint=hub.endpoint))
        await group.until("poet", "Loaded")
        poem = await group.ask("poet")
        assert poem[0] == 200
        assert poem[1] != base[1]
        bad = {name: group.mounted(name, write_adapter(tmp_path / name, files)) for name, (files, _) in BAD.items()}
        group.want(group.entry("poet", URI, endpoint=hub.endpoint), *bad.values())
        for name, (_, words) in BAD.items():
            await group.until(name, "Failed", words)
        assert await group.ask("poet") == poem
        assert await group.until_told(group.want()) == []
        assert (await group.ask("poet"))[0] == 404
        assert await group.ask("tiny") == base
        assert (await group.status())["restarts"] == 0
