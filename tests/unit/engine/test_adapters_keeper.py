"""The keeper of adapters with a stand-in for vLLM: what it asks for, in which order, and what it makes of answers."""

import asyncio
import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from keeper_scene import Engine, Scene
from prometheus_client import CollectorRegistry, generate_latest

from manta_runtime.engine import adapters_keeper
from manta_runtime.engine.adapters import Copy
from manta_runtime.engine.adapters_keeper import AdapterKeeper
from manta_runtime.engine.adapters_telling import AdapterMetrics, adapters_json


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


async def test_nothing_is_asked_of_an_engine_that_does_not_serve(scene):
    scene.want(a="one")
    assert await scene.turn(serving=False) == []
    assert scene.states()["a"][0] == "Waiting"
    scene.engine.mute = True
    assert await scene.turn() == []


async def test_a_list_is_carried_out_in_one_turn_and_then_all_is_quiet(scene):
    scene.want(a="one", b="two")
    assert await scene.turn() == [("load", "a", "one"), ("load", "b", "two")]
    assert scene.states() == {"a": ("Loaded", ""), "b": ("Loaded", "")}
    assert await scene.turn() == []
    scene.want(b="two")
    assert await scene.turn() == [("unload", "a", None)]
    assert scene.states() == {"b": ("Loaded", "")}


async def test_a_new_path_is_tried_first_and_takes_the_name_then(scene):
    scene.want(a="one")
    await scene.turn()
    scene.want(a="two")
    assert await scene.turn() == [
        ("load", "a.manta-trial", "two"),
        ("unload", "a.manta-trial", None),
        ("unload", "a", None),
        ("load", "a", "two"),
    ]
    assert scene.states() == {"a": ("Loaded", "")}


async def test_a_bad_new_path_leaves_the_old_one_and_is_not_tried_at_once(scene):
    scene.want(a="one")
    await scene.turn()
    scene.want(a="two")
    scene.is_bad("two", "header too small")
    assert await scene.turn() == [("load", "a.manta-trial", "two")]
    assert scene.states() == {"a": ("Failed", "header too small; a of before still answers")}
    assert Path(scene.engine.adapters["a"]).name == "one"
    assert await scene.turn() == []
    scene.want(a="one")
    await scene.turn()
    assert scene.states() == {"a": ("Loaded", "")}


async def test_a_failed_one_is_told_in_vllms_words_and_the_next_is_loaded(scene):
    scene.is_bad("one", "LoRA rank 32 is greater than\n max_lora_rank 16.")
    scene.want(a="one", b="two")
    assert await scene.turn() == [("load", "a", "one"), ("load", "b", "two")]
    assert scene.states() == {"a": ("Failed", "LoRA rank 32 is greater than max_lora_rank 16."), "b": ("Loaded", "")}
    assert scene.keeper.loads == {"loaded": 1, "failed": 1}


async def test_what_vllm_loaded_without_an_answer_is_loaded_and_ours(scene):
    scene.engine.lost = 1
    scene.want(a="one")
    assert await scene.turn() == [("load", "a", "one")]
    assert scene.states() == {"a": ("Loaded", "")}
    scene.want()
    assert await scene.turn() == [("unload", "a", None)]


async def test_what_somebody_else_loaded_stays(scene):
    scene.engine.adapters["users"] = "/args/x"
    scene.want(users="one", a="two")
    assert await scene.turn() == [("load", "a", "two")]
    assert scene.states()["users"][0] == "Failed"
    scene.want()
    assert await scene.turn() == [("unload", "a", None)]
    assert scene.engine.adapters == {"users": "/args/x"}


async def test_what_somebody_else_unloaded_comes_back(scene):
    scene.want(a="one")
    await scene.turn()
    scene.engine.adapters.clear()
    assert await scene.turn() == [("load", "a", "one")]


async def test_one_waits_for_all_to_be_settled_and_is_told_for_what(scene, monkeypatch):
    monkeypatch.setattr(adapters_keeper, "_WAIT_SECONDS", 0.01)
    scene.want(a="one", b="two")
    scene.is_bad("two", "no")
    said, told = [], asyncio.Event()

    def tell(words):
        said.append(words)
        told.set()

    waiting = asyncio.create_task(scene.keeper.until_settled(math.inf, tell))
    await asyncio.wait_for(told.wait(), 20)
    assert not waiting.done()
    await scene.turn()
    await asyncio.wait_for(waiting, 20)
    assert "its adapters are not loaded yet" in said[0]
    # One that cannot be settled is waited for until the deadline only.
    scene.want(a="one", b="three")
    (scene.folder / "three/adapter_config.json").rename(scene.folder / "elsewhere")
    await scene.turn()
    await asyncio.wait_for(scene.keeper.until_settled(time.monotonic() - 1, said.append), 20)


async def test_who_waits_for_it_is_not_kept_waiting_for_its_next_look(scene, monkeypatch):
    monkeypatch.setattr(adapters_keeper, "_LOOK_SECONDS", 3600)
    serving = asyncio.Event()
    scene.want(a="one")
    running = asyncio.create_task(scene.keeper.run(dict, serving.is_set))
    async with asyncio.timeout(20):
        while not scene.keeper.copies.wanted.hash:  # noqa: ASYNC110 - it looks on its own
            await asyncio.sleep(0.01)
        serving.set()
        await scene.keeper.until_settled(math.inf, str)
    assert scene.states() == {"a": ("Loaded", "")}
    running.cancel()


async def test_a_bug_ends_neither_the_keeper_nor_the_engine(scene, monkeypatch, caplog):
    monkeypatch.setattr(adapters_keeper, "_LOOK_SECONDS", 0.01)
    scene.want(a="one")
    ask, scene.engine.ask = scene.engine.ask, None
    running = asyncio.create_task(scene.keeper.run(dict, lambda: True))
    async with asyncio.timeout(20):
        while "a bug of the adapters' keeper" not in caplog.text:  # noqa: ASYNC110 - a log has no events
            await asyncio.sleep(0.01)
        scene.engine.ask = ask
        while scene.states().get("a") != ("Loaded", ""):  # noqa: ASYNC110 - it looks every so often
            await asyncio.sleep(0.01)
    running.cancel()


async def test_a_rank_that_lacks_it_holds_it_back(scene):
    told = {1: {}}
    scene.want(a="one")
    running = asyncio.create_task(scene.keeper.run(lambda: told, lambda: False))
    await asyncio.sleep(0)
    running.cancel()
    assert await scene.turn() == []
    assert "rank 1 has said nothing" in scene.states()["a"][1]
    told[1] = {"one": Copy("has")}
    assert await scene.turn() == [("load", "a", "one")]


async def test_it_is_told_over_http_and_as_metrics(scene):
    scene.is_bad("two", "no")
    scene.want(a="one", b="two")
    await scene.turn()
    assert adapters_json(scene.keeper) == {
        "hash": "a-b",
        "adapters": [
            {
                "name": "a",
                "uri": "pvc://one",
                "revision": None,
                "state": "Loaded",
                "message": "",
                "bytes": None,
                "total": None,
            },
            {
                "name": "b",
                "uri": "pvc://two",
                "revision": None,
                "state": "Failed",
                "message": "no",
                "bytes": None,
                "total": None,
            },
        ],
    }
    registry = CollectorRegistry()
    registry.register(AdapterMetrics(scene.keeper))
    metrics = generate_latest(registry).decode()
    for line in ('loaded{adapter="a"} 1.0', 'loaded{adapter="b"} 0.0', 'loads_total{result="failed"} 1.0'):
        assert f"manta_engine_adapter_{line}" in metrics


async def test_a_pod_without_a_list_keeps_and_tells_nothing(tmp_path):
    settings = SimpleNamespace(adapters=None, state_folder=None, mounts={}, model="org/tiny", model_is_local=False)
    keeper = AdapterKeeper(settings, Engine())
    await asyncio.wait_for(keeper.run(dict, lambda: True), 20)
    await asyncio.wait_for(keeper.until_settled(math.inf, pytest.fail), 20)
    assert adapters_json(keeper) == {"hash": "", "adapters": []}
    assert list(AdapterMetrics(keeper).collect()) == []
