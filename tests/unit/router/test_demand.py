"""The counters that the operator scales by: once per request, in tokens as engines count them; engines seen lately."""

import asyncio
import time

import msgspec
import pytest
from picker_world import World

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.demand import OLDEST_SECONDS, Demand, Engines
from manta_runtime.router.picker.http import Question
from manta_runtime.router.picker.scrape import Buckets, Look

ENDPOINT = Endpoint("demo-1a-0-0", "10.0.0.1:8000", "0", usable=True, uid="u1")
LOOK = Look(3, 2, 0.5, started="7.5", prompt_tokens=100, generated_tokens=50, hit_tokens=20)
ANSWERED = {"prompt_tokens": 30, "completion_tokens": 7, "cached_tokens": 8}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, "hold: {seconds: 60, queueSize: 2}")


def demand(world, path="/demand"):
    return msgspec.json.decode(world.picker.answer(Question("GET", path, {}, b"")).body)


def test_a_request_counts_when_it_is_let_in_and_its_answer_when_it_ends(world):
    world.replicas("demo-1a-0-0")
    placed = world.ask(body={"model": "t", "prompt": "x" * 394})
    told = demand(world)
    assert (told["requests"], told["tokensIn"], told["pairs"], told["inFlight"]) == (1, 100, 5000, 1)
    assert (told["answers"], told["tokensOut"], told["held"], told["usable"]) == (0, 0, 0, 1)
    world.end(placed, **ANSWERED)
    told = demand(world)
    assert (told["requests"], told["answers"], told["tokensOut"], told["inFlight"]) == (1, 1, 7, 0)
    assert {"manta_router_requests_total 1.0", "manta_router_prompt_tokens_total 100.0"} <= set(
        world.metrics.splitlines()
    )


async def test_a_request_counts_once_however_often_it_is_asked_about(world):
    world.ask(x_request_id=b"held").cancel()  # the question's connection broke
    await asyncio.sleep(0)
    held = world.ask(x_request_id=b"held")
    assert (demand(world)["requests"], demand(world)["held"]) == (1, 1)
    world.replicas("a-0")
    assert held.result().replica == "a-0"
    world.ask(x_request_id=b"held")  # the answer got lost
    world.ask(x_request_id=b"held")
    assert (demand(world)["requests"], demand(world)["inFlight"]) == (1, 1)
    world.ask(x_request_id=b"another")
    assert (demand(world)["requests"], demand(world)["inFlight"]) == (2, 2)


async def test_who_finds_no_place_counts_and_who_may_not_come_in_does_not(tmp_path):
    world = World(tmp_path, "hold: {seconds: 60, queueSize: 2}", keys=("small",))
    asked = [world.ask("small"), world.ask("small")]
    assert world.ask("small").status == 429, "the limit of the tenant"
    assert world.ask("nobody").status == 401
    assert world.ask("small", body=b"{").status in (400, 429)
    assert (demand(world)["requests"], demand(world)["held"]) == (2, 2)
    world.limit("small")
    assert world.ask("small").code == "queue_full"
    assert world.ask("small", body=b"{").code == "invalid_json"
    assert (demand(world)["requests"], demand(world)["held"]) == (3, 2)
    for held in asked:
        held.cancel()


async def test_the_age_of_the_queue_is_that_of_the_first_who_waits(world):
    first, _ = world.ask(), setattr(world, "now", 105.0)
    second = world.ask()
    world.now = 107.0
    assert demand(world)["queueAge"] == 7.0
    first.cancel()
    second.cancel()
    await asyncio.sleep(0)
    assert demand(world)["queueAge"] == 0.0


def test_estimates_follow_what_engines_count():
    found = Demand("i")
    for _ in range(1000):
        found.came("", 100)
        found.answered(100, 250, 10)
    before = found.tokens_in
    found.came("", 100)
    assert found.tokens_in - before == pytest.approx(250, rel=0.03)
    assert found.tokens_out == 10_000


def test_estimates_forget_what_was_long_ago():
    found = Demand("i")
    for told in (400, 100):
        for _ in range(20_000):
            found.answered(200, told, 0)
    before = found.tokens_in
    found.came("", 200)
    assert found.tokens_in - before == pytest.approx(100, rel=0.25)


def test_prompts_of_which_nothing_can_be_estimated_count_when_they_were_computed():
    found = Demand("i")
    found.came("", 0)
    found.answered(0, 1500, 20)
    assert (found.requests, found.tokens_in, found.pairs) == (1, 1500, 1500 * 1500 / 2)


@pytest.mark.parametrize("lie", [-5, 10**300, -(10**300)])
def test_an_engine_that_lies_about_tokens_cannot_turn_counters_back_or_make_them_endless(lie):
    found = Demand("i")
    found.came("", 100)
    before = found.tokens_in
    found.answered(100, lie, lie)
    found.answered(0, lie, lie)
    for _ in range(10):
        found.came("", 1 << 22)
    assert before < found.tokens_in < 1e9
    assert 0 <= found.tokens_out < 1e9
    assert 0 < found.pairs < 1e16


def test_what_may_be_asked_again_is_not_remembered_for_ever():
    found = Demand("i")
    for number in range(10_000):
        found.left(str(number))
    assert len(found._counted) == 4096
    found.came("9999", 1)
    found.came("1", 1)
    assert found.requests == 1


def test_an_engine_is_told_of_while_it_was_seen_lately():
    engines = Engines()
    assert engines.told([ENDPOINT], {}, 5.0) == {}
    engines.looked("demo-1a-0-0", LOOK, 5.0)
    [(group, told)] = engines.told([ENDPOINT], {"demo-1a-0-0": 4}, 5.5).items()
    assert group == "demo-1a-0"
    assert told == {
        "age": 0.5,
        "instance": "u1/7.5/0",
        "waiting": 2,
        "running": 3,
        "kvUsage": 0.5,
        "promptTokens": 100,
        "generatedTokens": 50,
        "firstToken": None,
        "betweenTokens": None,
        "hitTokens": 20,
        "inFlight": 4,
    }
    assert engines.told([ENDPOINT], {}, 5.1 + OLDEST_SECONDS) == {}
    engines.looked("demo-1a-0-0", LOOK, 30.0)
    assert engines.told([], {}, 30.0) == {}, "not usable"
    engines.silent("demo-1a-0-0")
    assert engines.told([ENDPOINT], {}, 30.0) == {}
    engines.looked("demo-1a-0-0", LOOK, 31.0)
    engines.keep_only([])
    assert engines.told([ENDPOINT], {}, 31.0) == {}


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({}, False),
        ({"prompt_tokens": 101, "running": 0}, False),
        ({"prompt_tokens": None, "generated_tokens": None}, False),
        ({"prompt_tokens": 99}, True),
        ({"generated_tokens": 0}, True),
        ({"first_token": Buckets((1.0,), (3, 0))}, True),
        ({"first_token": Buckets((1.0,), (0, 4))}, False),
        ({"started": "8.5"}, True),
    ],
)
def test_an_engine_whose_counters_fall_is_another_one(fields, changed):
    engines, first = Engines(), Look(prompt_tokens=100, generated_tokens=50, first_token=Buckets((1.0,), (2, 2)))
    instances = []
    for at, look in enumerate((first, Look(**{"prompt_tokens": 100, "generated_tokens": 50, **fields}))):
        engines.looked("demo-1a-0-0", look, float(at))
        [told] = engines.told([ENDPOINT], {}, float(at)).values()
        instances.append(told["instance"])
    assert (instances[0] != instances[1]) == changed


def test_the_picker_tells_of_engines_that_it_looks_at(world):
    world.replicas("demo-1a-0-0", "demo-1a-1-0")
    for replica in ("demo-1a-0-0", "demo-1a-1-0"):
        world.picker._looked(replica, LOOK, time.monotonic())
    assert set(demand(world)["engines"]) == {"demo-1a-0", "demo-1a-1"}
    world.picker._silent("demo-1a-1-0")
    assert set(demand(world)["engines"]) == {"demo-1a-0"}
    world.replicas("demo-1a-1-0")
    world.replicas("demo-1a-0-0")
    assert demand(world)["engines"] == {}, "another one under its name, not seen yet"
