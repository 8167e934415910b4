"""Requests that find no room: held, let go in a fair order, refused when it was in vain."""

import asyncio

import pytest
from picker_world import World, code


@pytest.fixture
def world(tmp_path):
    return lambda *args, **kwargs: World(tmp_path, *args, **kwargs)


async def test_held_until_a_replica_appears(world):
    some = world()
    held = some.ask()
    assert isinstance(held, asyncio.Future)
    assert 'manta_router_queue_length{tenant="anonymous"} 1.0' in some.metrics
    some.now += 7
    some.replicas("a")
    assert (await held).replica == "a"
    assert "manta_router_held_seconds_sum 7.0" in some.metrics


@pytest.mark.parametrize(
    ("replicas", "what", "retry_after"), [([], "no_ready_replica", 2), (["a"], "hold_expired", 60)]
)
async def test_held_in_vain(world, replicas, what, retry_after):
    some = world("maxNumSeqs: 1")
    some.replicas(*replicas)
    for _ in replicas:
        some.ask()
        some.ask()
    held = some.ask()
    some.now += 59
    some.decider.tick()
    assert not held.done()
    some.now += 2
    some.decider.tick()
    refused = await held
    assert (refused.status, code(refused), refused.retry_after) == (503, what, retry_after)
    assert not some.decider.holding


@pytest.mark.parametrize(("replicas", "what"), [([], "no_ready_replica"), (["a"], "saturated")])
async def test_nothing_is_held_when_told_so(world, replicas, what):
    some = world("maxNumSeqs: 1, hold: {seconds: 0}")
    some.replicas(*replicas)
    for _ in replicas:
        some.ask()
        some.ask()
    refused = some.ask()
    assert (refused.status, code(refused)) == (503, what)


async def test_held_ones_go_by_turns_and_priority_as_requests_end(world):
    some = world("maxNumSeqs: 1", keys=("small", "other", "urgent"))
    some.replicas("a")
    running = [some.ask("other"), some.ask("other")]
    held = {name: some.ask(name[:-1]) for name in ("other1", "other2", "other3", "small1", "urgent1")}
    order = []
    while held:
        some.end(running.pop(0))
        await asyncio.sleep(0)
        (name,) = (name for name, future in held.items() if future.done())
        running.append(held.pop(name).result())
        order.append(name)
    assert order == ["urgent1", "other1", "small1", "other2", "other3"]


async def test_who_leaves_is_out_of_the_queue_and_its_charge_is_settled(world):
    some = world(keys=("small",))
    held = some.ask("small")
    assert some.picker.limits.running() == {"small": 1}
    held.cancel()
    await asyncio.sleep(0)
    assert not some.decider.holding
    assert some.picker.limits.running() == {"small": 0}
    assert "manta_router_held_left_total 1.0" in some.metrics


async def test_a_full_queue(world):
    some = world("hold: {seconds: 60, queueSize: 2}", keys=("small", "urgent", "other", "more"))
    first, second = some.ask("other"), some.ask("other")
    full = some.ask("other")
    assert (full.status, code(full)) == (503, "queue_full")
    some.now += 1
    third = some.ask("small")
    assert isinstance(third, asyncio.Future)
    pushed = await second
    assert (pushed.status, code(pushed)) == (429, "queue_share_exceeded")
    assert code(some.ask("other")) == "queue_share_exceeded"
    assert isinstance(some.ask("urgent"), asyncio.Future)
    pushed = await third
    assert (pushed.status, code(pushed)) == (503, "queue_full")
    assert not first.done()


async def test_bodies_that_wait_take_so_much_memory_and_no_more(world, monkeypatch):
    monkeypatch.setattr("manta_runtime.router.picker.holding.MOST_BYTES", 2000)
    some = world()
    body = {"model": "t", "prompt": "x" * 900}
    first, second, third = (some.ask(body=body) for _ in range(3))
    assert isinstance(second, asyncio.Future)
    assert (third.status, code(third)) == (503, "queue_full")
    first.cancel()
    await asyncio.sleep(0)
    assert isinstance(some.ask(body=body), asyncio.Future)
