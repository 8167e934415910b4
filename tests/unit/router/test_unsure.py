"""Requests for models that no replica has named yet, while some have not told theirs."""

import asyncio

import pytest
from picker_world import World, code

from manta_runtime.router.picker.answers import encoded
from manta_runtime.router.picker.decide import Picked

LORA = '{"data": [{"id": "lora"}]}'


@pytest.fixture
def world(tmp_path):
    return lambda *args, **kwargs: World(tmp_path, *args, **kwargs)


async def test_a_model_does_not_exist_once_all_replicas_have_told(world):
    some = world(keys=("small", "urgent"))
    some.limit("small", models=["t"])
    asked = [some.ask("urgent", body={"model": model, "prompt": "x"}) for model in ("lora", "gpt")]
    assert some.ask("small", body={"model": "lora"}).status == 404, "not for this tenant"
    some.replicas("a", "b", models=None)
    assert isinstance(some.ask("urgent"), Picked), "who asks for the base model does not wait"
    some.picker._told_models("a", LORA.encode())
    await asyncio.sleep(0)
    assert (asked[0].result().replica, asked[1].done()) == ("a", False)
    some.picker._told_models("b", b"no list")
    assert code(asked[1].result()) == "model_not_found"
    assert code(some.ask("urgent", body={"model": "gpt"})) == "model_not_found"
    some.replicas("a", "b", "c", models=None)
    assert not some.ask("urgent", body={"model": "gpt"}).done(), "the new one may have it"
    assert some.picker.limits.running() == {}


async def test_who_waits_for_news_waits_for_a_while_and_may_leave(world):
    some = world("hold: {seconds: 60, queueSize: 2}")
    some.replicas("a", models=None)
    late, left = [some.ask(body={"model": "lora"}) for _ in range(2)]
    assert code(some.ask(body={"model": "lora"})) == "models_unknown", "no place"
    left.cancel()
    await asyncio.sleep(0)
    assert len(some.decider._unsure) == 1
    some.now += 5
    some.decider.tick()
    assert (encoded(late.result()).status, code(late.result())) == (480, "models_unknown")
    assert len(some.decider._unsure) == 0


async def test_who_waited_for_news_may_wait_for_a_replica_then(world):
    some = world()
    held, left = [some.ask(body={"model": "lora", "prompt": "x"}) for _ in range(2)]
    some.picker.models.learn("gone", LORA.encode())
    some.decider.models_told()
    assert (held.done(), len(some.decider.holding)) == (False, 2)
    left.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(some.decider.holding) == 1
    some.replicas("a", models=LORA)
    await asyncio.sleep(0)
    assert held.result().replica == "a"


async def test_bodies_that_wait_for_news_take_no_more_than_held_ones_may(world, monkeypatch):
    monkeypatch.setattr("manta_runtime.router.picker.unsure.MOST_BYTES", 100)
    some = world()
    asked = [some.ask(body={"model": "lora", "prompt": "x" * 20}) for _ in range(2)]
    assert not asked[0].done()
    assert code(asked[1]) == "models_unknown"
