"""What routers do not say, or say wrong, and a bug in the decision: the number stays, and people hear why."""

import logging

import pytest
from one_deployment import KEY
from scaled_deployment import QUICK, Scaled, document

from manta_operator.controller import reconcile
from manta_operator.controller import scaler as scalers
from manta_operator.planning.problems import Problem
from manta_operator.scaling.reading import read


@pytest.fixture
async def one(monkeypatch):
    one = Scaled(monkeypatch, autoscaling=QUICK)
    await one.begin()
    return one


LIES = {
    "nothing": None,
    "a list": [[]],
    "negative": document(-5),
    "not a number": document(5) | {"requests": float("nan")},
    "huge": document(5) | {"tokensIn": 10**400},
    "text": document(5) | {"held": "many"},
    "engines": document(5) | {"engines": ["x"]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_whatever_a_router_says_the_number_stays(one, lie):
    await one.play(2.0, 60)
    asked = one.scale.asked
    one.answer = lie
    for _ in range(60):
        await one.look(seconds=5)
    assert one.scale.asked == len(one.groups()) == asked
    assert one.condition("Autoscaled")["reason"] == "SignalsMissing"
    assert "demo-router-1-a" in one.condition("Autoscaled")["message"]
    await one.play(2.0, 120)
    assert one.condition("Autoscaled")["status"] == "True"


async def test_a_router_whose_requests_fall_is_missing(one):
    await one.play(2.0, 60)
    asked = one.scale.asked
    for each in range(60):
        one.answer = document(one.requests - each * 0.1)
        await one.look(seconds=5)
    assert one.scale.asked == asked
    assert one.condition("Autoscaled")["reason"] == "SignalsMissing"


async def test_one_answer_that_does_not_come_is_no_news(one):
    await one.play(1.0, 120)
    passes = one.passes
    for _ in range(20):
        await one.look(1.0)
        kept, one.answer = one.answer, None
        await one.look()
        one.answer = kept
    assert one.passes - passes <= 3
    assert one.condition("Autoscaled")["status"] == "True"


async def test_a_router_that_comes_and_goes_is_told_of_now_and_then(one):
    await one.play(1.0, 120)
    passes = one.passes
    for each in range(100):
        if each % 16 < 8:  # 16 s away, 16 s back
            one.answer = None
            one.requests += 2
            await one.look()
        else:
            await one.look(1.0)
    assert 2 <= one.passes - passes <= 24


async def test_one_router_of_two_that_falls_silent_takes_nothing_away(one):
    one.router("demo-router-1-b")
    one.hear()
    for each in range(30):
        one.answer = [document(each * 2), document(each * 2)]
        if await one.look():
            await one.serve()
    asked = one.scale.asked
    for _ in range(60):
        one.answer = [document(58), None]
        await one.look(seconds=5)
    assert one.scale.asked >= asked > 1
    assert one.condition("Autoscaled")["reason"] == "SignalsMissing"


async def test_a_router_that_goes_is_counted_and_not_missed(one):
    one.router("demo-router-1-b")
    one.hear()
    one.answer = [document(10, held=1), document(20, held=2)]
    await one.look()
    uid = one.cluster.get("Pod", "default", "demo-router-1-b")["metadata"]["uid"]
    one.store.expect_gone(uid)
    await one.look()
    assert one.scale.state.demand.held == 3
    one.answer = [document(11), None]
    await one.look()
    assert not one.scale.state.demand.partial
    assert one.scale.silent == {}


async def test_one_picker_at_the_address_of_two_pods_counts_once(one):
    one.router("demo-router-1-b")
    one.hear()

    async def ask(pods, _=1):
        return {pod.uid: read(document(10, held=1, in_flight=2)) for pod in pods}

    one.scaler._routers.ask = ask
    await one.look()
    assert (one.scale.state.demand.requests, one.scale.state.demand.held, one.scale.state.demand.in_flight) == (
        10,
        1,
        2,
    )


async def test_a_pod_that_has_ended_is_not_asked(one):
    one.cluster.patch_status("Pod", "default", "demo-router-1-a", {"status": {"phase": "Failed"}})
    one.hear()
    asked = one.asked
    await one.look()
    assert one.asked == asked, "its address may be another pod's"


async def test_steps_down_do_not_add_up_while_none_can_be_written(one):
    await one.play(3.0, 60)
    asked = one.scale.asked
    for _ in range(100):  # no pass is made
        one.clock.now += 5
        one.answer = document(one.requests)
        await one.scaler._look(one.deployments.get(KEY), one.scale)
    assert asked > one.scale.asked >= asked // 2


async def test_without_a_plan_the_number_stays(one, monkeypatch):
    await one.play(0.2, 60)
    desire = reconcile.desire
    monkeypatch.setattr(reconcile, "desire", lambda *_, **__: (Problem("spec.engine", "does not fit", "change it"),))
    one.change(engine={"maxModelLen": 12345})
    await one.run()
    await one.play(8.0, 60)
    assert one.scale.asked == 1
    assert one.condition("Autoscaled")["reason"] == "NotPlanned"
    assert one.scale.ledger.total[0] == one.requests, "looks go on"
    one.answer = None
    for _ in range(20):
        await one.look()
    assert one.condition("Autoscaled")["reason"] == "SignalsMissing"
    monkeypatch.setattr(reconcile, "desire", desire)
    one.deployments.get(KEY).flag.set()
    await one.turn()
    await one.play(8.0, 60)
    assert one.scale.asked > 1


async def test_a_router_that_does_not_serve_yet_holds_nothing_up(one):
    one.router("demo-router-1-b", ready=False)
    one.hear()
    await one.play(3.0, 60)
    high = one.scale.asked
    for _ in range(60):
        one.answer = [document(one.requests), None]
        await one.look(seconds=5)
    assert one.scale.asked < high


async def test_a_bug_in_the_decision_keeps_the_number_and_is_told_once(one, monkeypatch, caplog):
    await one.play(2.0, 60)
    asked, state, real = one.scale.asked, one.scale.state, scalers.decide

    def decide(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(scalers, "decide", decide)
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            await one.look(4.0)
    assert (one.scale.asked, one.scale.state, len(one.groups())) == (asked, state, asked)
    assert one.condition("Autoscaled")["reason"] == "InternalError"
    assert "ZeroDivisionError: by zero" in one.condition("Autoscaled")["message"]
    assert caplog.text.count("Traceback") == 1
    for _ in range(scalers.MOST_FAULTS):
        await one.look(4.0)
    assert one.scale.state.bins == (), "what was watched may be the cause, and is forgotten"
    monkeypatch.setattr(scalers, "decide", real)
    await one.play(4.0, 60)
    assert (one.scale.fault, one.scale.asked > asked) == ("", True)


async def test_a_clock_of_people_that_jumps_changes_nothing(one):
    await one.play(1.0, 120)
    asked, bins = one.scale.asked, one.scale.state.bins
    for jump in (-86_400, 86_400 * 365):
        one.clock.ahead = jump
        await one.play(1.0, 60)
    assert one.scale.asked == asked
    assert one.scale.state.bins[: len(bins) - 1] == bins[:-1]


async def test_a_machine_that_was_suspended_sees_no_rush(one):
    """Its monotonic clock stands still meanwhile, and the routers go on counting elsewhere."""
    await one.play(1.0, 120)
    asked = one.scale.asked
    one.clock.ahead += 3600
    one.requests += 3600
    await one.play(1.0, 60)
    assert one.scale.asked == asked


async def test_an_engine_that_starts_anew_is_another_one(one):
    [group] = [each["metadata"]["name"] for each in one.groups()]
    engine = {"age": 0.1, "instance": "u/1/0", "waiting": 0, "running": 1, "kvUsage": 0.1, "inFlight": 1}
    counts = {"promptTokens": 100, "generatedTokens": 10, "firstToken": None, "betweenTokens": None, "hitTokens": 5}
    one.answer = document(1, engines={group: engine | counts, "demo-gone-0": engine | counts})
    await one.look()
    assert list(one.scale.state.engines) == [f"{group} u/1/0"], "only replicas that serve count"
    one.answer = document(2, engines={group: engine | counts | {"instance": "u/2/0"}})
    await one.look()
    assert list(one.scale.state.engines) == [f"{group} u/2/0"]


def engine(group, **told):
    return {group: {"age": 0.5, "instance": "a", "waiting": 0, "running": 1, "kvUsage": 0.1, "inFlight": 1} | told}


async def test_engines_that_tell_nothing_are_told_of_after_a_while(one):
    one.mute, group = True, one.groups()[0]["metadata"]["name"]
    counts = {"promptTokens": 5, "generatedTokens": 5}
    for engines, reason in (
        ({}, "EnginesSilent"),
        (engine(group, **counts), "Following"),
        (engine(group), "EnginesSilent"),
    ):
        for _ in range(60):
            one.requests += 1
            one.answer = document(one.requests, in_flight=1, engines=engines)
            await one.look()
        assert (one.condition("Autoscaled")["reason"], one.scale.asked) == (reason, 1)


async def test_a_router_without_such_a_page_is_told_to_be_too_old(one):
    one.scaler._routers.old = lambda _: True
    one.answer = None
    for _ in range(20):
        await one.look()
    assert "spec.router.image" in one.condition("Autoscaled")["message"]
