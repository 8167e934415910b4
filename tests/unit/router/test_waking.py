"""Requests while there is no replica, of a deployment that goes to zero: how long they wait, and who is told."""

import asyncio

import msgspec
import pytest
from picker_world import World, code

from manta_runtime.router.config import parse
from manta_runtime.router.picker import polls
from manta_runtime.router.picker.http import Answer, Question
from manta_runtime.router.picker.polls import Polls

ZERO = "maxNumSeqs: 1, hold: {seconds: 60, wakeSeconds: 900, queueSize: 5}"
LORA = '{"data": [{"id": "lora"}]}'


@pytest.fixture
def world(tmp_path):
    return lambda options=ZERO, **more: World(tmp_path, options, **more)


def later(some, seconds):
    some.now += seconds
    some.decider.tick()


@pytest.mark.parametrize(
    ("hold", "longest"),
    [
        ("{}", 60),
        ("{seconds: 0}", 0),
        ("{wakeSeconds: 900}", 960),
        ("{seconds: 0, wakeSeconds: 900}", 900),
        ("{seconds: 60, wakeSeconds: 10}", 120),
    ],
)
def test_the_longest_that_a_request_is_held(hold, longest):
    config = parse(f"{{deployment: t, namespace: ns, servedNames: [t], selector: a=b, hold: {hold}}}")
    assert config.hold.longest_seconds == longest


async def test_while_there_is_no_replica_a_request_waits_as_long_as_one_may_take_to_start(world):
    some = world()
    held = some.ask()
    later(some, 899)
    assert not held.done()
    later(some, 2)
    refused = held.result()
    assert (refused.status, code(refused), refused.retry_after) == (503, "no_ready_replica", 2)
    assert b"after 901 s" in refused.body


async def test_nobody_is_sent_away_at_the_moment_the_first_replica_is_ready(world):
    some = world()
    held = [some.ask() for _ in range(4)]
    later(some, 890)
    some.replicas("a")
    assert [h.done() for h in held] == [True, True, False, False], "it takes two"
    some.decider.tick()
    newcomer = some.ask()
    later(some, 59)
    assert [h.done() for h in (*held[2:], newcomer)] == [False, False, False], "hold.seconds from the first replica on"
    later(some, 2)
    assert [code(h.result()) for h in (*held[2:], newcomer)] == ["hold_expired"] * 3
    assert held[0].result().replica == "a"


async def test_who_came_while_there_was_none_keeps_the_time_he_was_given(world):
    some = world()
    held = [some.ask() for _ in range(3)]
    some.replicas("a")
    newcomer = some.ask()
    later(some, 61)
    assert (held[2].done(), code(newcomer.result())) == (False, "hold_expired")
    some.end(held[0].result())
    assert held[2].result().replica == "a"


async def test_replicas_that_come_and_go_do_not_hold_a_request_for_ever(world):
    some = world()
    held = [some.ask() for _ in range(3)]
    for _ in range(20):
        later(some, 45)
        some.replicas("a")
        later(some, 2)
        some.replicas()
    assert held[2].done(), "after wakeSeconds while there is none"
    assert some.now < 100 + 960


async def test_a_wake_shorter_than_the_holding_shortens_nothing(world):
    some = world("hold: {seconds: 60, wakeSeconds: 5}")
    held = some.ask()
    later(some, 59)
    assert not held.done()
    later(some, 2)
    assert code(held.result()) == "no_ready_replica"


async def test_with_no_holding_for_busy_replicas_only_the_first_one_is_waited_for(world):
    some = world("maxNumSeqs: 1, hold: {seconds: 0, wakeSeconds: 900, queueSize: 9}")
    held = [some.ask() for _ in range(3)]
    some.replicas("a")
    assert [h.done() for h in held] == [True, True, False]
    assert code(some.ask()) == "saturated"
    some.end(held[0].result())
    assert held[2].result().replica == "a"


async def test_more_than_may_wait_are_refused_at_once_and_told_when_to_come_again(world):
    some = world()
    asked = [some.ask() for _ in range(7)]
    refused = [one for one in asked if not isinstance(one, asyncio.Future)]
    assert [(one.status, code(one), one.retry_after) for one in refused] == [(503, "queue_full", 60)] * 2
    some.replicas("a", "b", "c")
    assert {one.result().replica for one in asked[:5]} == {"a", "b", "c"}
    assert some.picker.limits.running() == {}


async def test_who_asks_for_an_adapter_that_nobody_can_know_yet_waits_for_the_first_replica_too(world):
    some = world()
    held, wrong = some.ask(body={"model": "lora", "prompt": "x"}), some.ask(body={"model": "gpt", "prompt": "x"})
    later(some, 600)
    some.replicas("a", models=None)
    later(some, 4)
    assert not held.done()
    some.picker._told_models("a", LORA.encode())
    await asyncio.sleep(0)
    assert (held.result().replica, code(wrong.result())) == ("a", "model_not_found")
    some.replicas()
    late = some.ask(body={"model": "new", "prompt": "x"})
    assert code(late) == "model_not_found", "those of before are remembered"


async def test_a_model_that_the_first_replica_does_not_tell_is_not_waited_for_for_ever(world):
    some = world()
    held = some.ask(body={"model": "lora", "prompt": "x"})
    later(some, 899)
    some.replicas("a", models=None)
    later(some, 4)
    assert not held.done()
    later(some, 2)
    assert code(held.result()) == "models_unknown"


def asked(some):
    return some.picker.answer(Question("GET", "/demand/held", {}, b""))


def document(answer):
    return msgspec.json.decode(answer.body)


async def test_the_first_request_held_answers_all_who_wait_for_it(world):
    some = world()
    waiting = [asked(some) for _ in range(3)]
    waiting.pop().cancel()
    await asyncio.sleep(0)
    assert len(some.picker.polls) == 2
    held = some.ask()
    await asyncio.sleep(0)
    assert [document(one.result())["held"] for one in waiting] == [1, 1]
    assert document(asked(some))["held"] == 1, "at once"
    held.cancel()
    await asyncio.sleep(0)
    last = asked(some)
    assert (isinstance(last, asyncio.Future), len(some.picker.polls)) == (True, 1)
    last.cancel()


@pytest.mark.parametrize("options", ["hold: {seconds: 60, wakeSeconds: 9, queueSize: 0}", "hold: {seconds: 0}"])
async def test_a_request_that_may_not_wait_wakes_too(world, options):
    some = world(options)
    waiting = asked(some)
    assert some.ask().status == 503
    await asyncio.sleep(0)
    told = document(waiting.result())
    assert (told["held"], told["requests"]) == (0, 1)


async def test_a_request_for_an_unknown_model_wakes_too(world):
    some = world()
    waiting = asked(some)
    held = some.ask(body={"model": "lora", "prompt": "x"})
    await asyncio.sleep(0)
    assert document(waiting.result())["held"] == 1
    held.cancel()


async def test_a_poll_is_answered_in_time_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(polls, "SECONDS", 0.01)
    found = Polls(lambda: Answer(200, b"x"))
    assert (await found.wait()).body == b"x"
    await asyncio.sleep(0)
    assert len(found) == 0


async def test_no_more_than_so_many_may_wait():
    found = Polls(lambda: Answer(200))
    waiting = [found.wait() for _ in range(257)]
    assert (waiting.pop().status, len(found)) == (503, 256)
    timers = list(found._waiting.values())
    found.happened()
    found.happened()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert (len(found), [timer.cancelled() for timer in timers]) == (0, [True] * 256)
