"""What a router says of its demand is what the operator reads, number for number."""

import asyncio
import json
import math

import pytest
from picker_world import World

from manta_operator.scaling.reading import read
from manta_runtime.router.picker.http import Question
from manta_runtime.router.picker.scrape import Buckets, Look

LOOK = Look(3, 2, 0.5, started="7.5", prompt_tokens=100, generated_tokens=50, hit_tokens=20)
FIRST, BETWEEN = Buckets((0.5, 1.0), (4, 2, 1)), Buckets((0.1,), (9, 0))


def demand(world, path="/demand"):
    return json.loads(world.picker.answer(Question("GET", path, {}, b"")).body)


async def test_the_operator_reads_all_that_the_router_says(tmp_path):
    world = World(tmp_path, "maxNumSeqs: 12")
    world.replicas("demo-1a-0-0", "demo-1a-1-0")
    looks = {"demo-1a-0-0": LOOK, "demo-1a-1-0": Look(9, 0, 1.7, prompt_tokens=1, generated_tokens=2, first_token=FIRST,
             between_tokens=BETWEEN)}  # fmt: skip
    for replica, look in looks.items():
        world.picker._looked(replica, look, world.picker._ticked_at)
    ended, *placed = [world.ask() for _ in range(30)]
    world.end(ended, prompt_tokens=5, completion_tokens=7)
    written = demand(world)
    found = read(written, written["deployment"])
    assert written["deployment"] == f"{world.picker.config.namespace}/{world.picker.config.deployment}"
    keys = ("requests", "tokensIn", "tokensOut", "answers", "pairs")
    assert found.counts == tuple(written[key] for key in keys)
    assert (found.instance, found.counts[0], found.counts[2:4]) == (written["instance"], 30, (7, 1))
    held = [one for one in placed if isinstance(one, asyncio.Future) and not one.done()]
    assert (found.held, found.in_flight, found.usable) == (len(held), 29 - len(held), 2)
    assert held
    first, second = found.engines["demo-1a-0"], found.engines["demo-1a-1"]
    assert (first.signals.waiting, first.signals.running, first.signals.prompt_tokens, first.hit_tokens) == (
        2,
        3,
        100,
        20,
    )
    assert (first.signals.first_token, first.in_flight + second.in_flight) == (None, found.in_flight)
    assert (second.signals.kv_usage, second.hit_tokens) == (1.0, None)
    assert (second.signals.first_token.bounds, second.signals.first_token.counts) == ((0.5, 1.0), (4, 2, 1))
    assert (second.signals.between_tokens.bounds, second.signals.between_tokens.counts) == ((0.1,), (9, 0))
    assert 0 <= first.age < 10
    for one in held:
        one.cancel()


@pytest.mark.parametrize("ratio", [1.0, 1e12, math.inf])
def test_no_request_and_no_engine_can_make_it_unreadable(tmp_path, ratio):
    world = World(tmp_path)
    world.picker.demand._ratio = ratio
    for _ in range(1000):
        world.picker.demand.came("", 1 << 22)
        world.picker.demand.answered(1, 1 << 60, 1 << 60)
    assert read(demand(world)) is not None


def test_of_an_engine_that_does_not_count_is_known_what_waits_there(tmp_path):
    world = World(tmp_path)
    world.replicas("demo-1a-0-0")
    world.picker._looked("demo-1a-0-0", Look(3, 2, 0.5), world.picker._ticked_at)
    assert list(demand(world)["engines"]) == ["demo-1a-0"]
    seen = read(demand(world)).engines["demo-1a-0"].signals
    assert (seen.running, seen.waiting, seen.prompt_tokens, seen.generated_tokens) == (3, 2, None, None)
