"""Replicas that follow the demand: what looks and passes do together, on clocks of the test's own."""

import logging

import pytest
from one_deployment import KEY
from scaled_deployment import Scaled, document

from manta_operator.controller import scaler as scalers
from manta_operator.controller.demand import MOST_A_SECOND, look_seconds
from manta_operator.controller.deployments import scale_writers
from manta_operator.controller.errors import Transient

ZERO = {"minReplicas": 0, "maxReplicas": 8, "scaleToZero": {"afterSeconds": 60}}


@pytest.fixture
async def one(monkeypatch):
    one = Scaled(monkeypatch)
    await one.begin()
    return one


def applied(one):
    """What was written, in order: the number in the status, and StatefulSets."""
    found = []
    for how, _, obj in one.client.sent:
        if how == "apply" and obj["kind"] == "StatefulSet":
            found.append("StatefulSet")
        if how == "apply" and "status" in obj and "autoscaling" in obj["status"]:
            found.append(obj["status"]["autoscaling"]["replicas"])
    return found


async def test_it_begins_with_what_the_spec_says_and_tells_so(one):
    assert (one.scale.asked, len(one.groups())) == (1, 1)
    assert one.status["autoscaling"]["replicas"] == one.status["desiredReplicas"] == 1


async def test_more_demand_is_more_replicas_and_the_number_is_written_before_they_are_made(one):
    await one.play(0.2, 60)
    assert one.scale.asked == 1
    one.client.sent.clear()
    await one.play(3.0, 30)
    assert 4 <= one.scale.asked <= 8
    assert len(one.groups()) == one.scale.asked == one.status["desiredReplicas"]
    first, *_ = applied(one)
    assert first > 1, "a StatefulSet was written before the number"
    change = one.status["autoscaling"]["changes"][0]
    assert change["toReplicas"] == one.scale.asked
    assert "replicas" in change["message"]


async def test_a_jump_is_answered_by_the_look_that_can_see_it(one):
    await one.play(0.2, 120)
    looks = 0
    while one.scale.asked == 1:
        await one.look(5.0)
        looks += 1
    assert looks <= 2
    assert len(one.groups()) == one.scale.asked


async def test_less_demand_is_fewer_replicas_and_the_spec_is_never_written(one):
    spec = one.cluster.get("LLMDeployment", *KEY)["spec"]
    await one.play(3.0, 60)
    high = one.scale.asked
    await one.play(0.1, 4000, every=10)
    assert one.scale.asked == len(one.groups()) < high
    assert one.cluster.get("LLMDeployment", *KEY)["spec"] == spec


async def test_nothing_to_do_is_no_replica_and_a_request_that_waits_is_one(monkeypatch):
    one = Scaled(monkeypatch, autoscaling=ZERO)
    await one.begin()
    await one.play(0.5, 60)
    assert one.scale.asked == 1
    await one.play(0.0, 200)
    assert (one.scale.asked, one.groups(), one.status["desiredReplicas"]) == (0, [], 0)
    assert one.cluster.find("Deployment", "default", "demo-router"), "the routers hold what comes"
    passes = one.passes
    await one.play(0.0, 600)
    assert one.passes - passes <= 10
    one.answer = document(one.requests + 1, held=1)
    await one.look()
    assert (one.scale.asked, len(one.groups())) == (1, 1)


async def test_a_burst_at_zero_is_more_than_one_replica(monkeypatch):
    one = Scaled(monkeypatch, autoscaling=ZERO)
    await one.begin()
    await one.play(0.5, 60)
    await one.play(0.0, 200)
    one.answer = document(one.requests + 500, held=500)
    await one.look()
    assert 1 < one.scale.asked <= 8


async def test_ten_minutes_of_steady_load_write_hardly_anything(one):
    await one.play(1.0, 900)
    before, passes = one.status["autoscaling"]["replicas"], one.passes
    writes = await one.play(1.0, 600)
    assert one.status["autoscaling"]["replicas"] == before
    assert writes <= 12
    assert one.passes - passes <= 25


async def test_a_number_that_cannot_be_written_is_not_followed_until_it_can(one):
    real, refusing = one.client.apply, True

    async def apply(obj, subresource=None, *args, **kwargs):
        if subresource and refusing:
            raise Transient("apply status: away")
        return await real(obj, subresource, *args, **kwargs)

    one.client.apply = apply
    for _ in range(15):
        one.clock.now += 2
        one.requests += 10
        one.answer = document(one.requests, in_flight=1)
        await one.scaler._look(one.deployments.get(KEY), one.scale)
    assert one.scale.asked > 1
    with pytest.raises(Transient):
        await one.run()
    assert len(one.groups()) == 1
    refusing = False
    await one.run()
    assert len(one.groups()) == one.scale.asked == one.status["desiredReplicas"]


async def test_only_the_write_ahead_is_refused_and_the_pass_says_so(one):
    real, refused = one.client.apply, []

    async def apply(obj, subresource=None, *args, **kwargs):
        if subresource and not refused:
            refused.append(obj["status"]["autoscaling"]["replicas"])
            raise Transient("apply status: away")
        return await real(obj, subresource, *args, **kwargs)

    one.client.apply = apply
    one.scale.asked = 3
    outcome = await one.run()
    assert refused == [3]
    assert (len(one.groups()), one.condition("Reconciled")["reason"]) == (1, "Transient")
    assert outcome.pause <= 1
    await one.run()
    assert len(one.groups()) == one.status["desiredReplicas"] == 3


async def test_an_operator_that_starts_anew_finishes_what_was_begun(one):
    one.client.refuse["StatefulSet"] = Transient("apply StatefulSet: away")
    await one.play(3.0, 30)
    asked = one.status["autoscaling"]["replicas"]
    assert (len(one.groups()), asked > 1) == (1, True)
    one.client.refuse.clear()
    one.restart()
    await one.run()
    assert len(one.groups()) == asked == one.scale.asked


async def test_what_was_learned_outlives_the_operator(one):
    one.cluster.patch_status(
        "LLMDeployment", *KEY, {"status": {"autoscaling": {"speed": 2.5, "coldStartSeconds": 41.5}}}
    )
    one.restart()
    await one.run()
    assert (one.scale.state.capacity.speed, one.scale.cold_start) == (2.5, 41.5)


@pytest.mark.parametrize(("bounds", "number"), [((2, 8), 2), ((1, 3), 3), ((0, 8), 5)])
async def test_new_bounds_hold_with_the_next_pass(monkeypatch, bounds, number):
    one = Scaled(monkeypatch, replicas=5 if number != 2 else 1)
    await one.begin()
    least, most = bounds
    one.change(autoscaling={"minReplicas": least, "maxReplicas": most})
    await one.run()
    assert one.scale.asked == len(one.groups()) == one.status["autoscaling"]["replicas"] == number


async def test_what_the_spec_says_of_replicas_is_not_followed_any_more(one):
    one.change(replicas=6)
    await one.settle()
    assert len(one.groups()) == one.status["desiredReplicas"] == 1


async def test_autoscaling_that_goes_leaves_the_spec_in_charge_and_that_comes_begins_there(one):
    one.change(autoscaling=None, replicas=3)
    await one.settle()
    assert (one.scale, len(one.groups()), one.status["desiredReplicas"]) == (None, 3, 3)
    one.cluster.patch_status("LLMDeployment", *KEY, {"status": {"autoscaling": None}})  # as an apply would
    one.change(autoscaling={"maxReplicas": 8})
    await one.settle()
    assert (one.scale.asked, len(one.groups())) == (3, 3)


async def test_no_look_before_anything_could_be_planned(monkeypatch):
    one = Scaled(monkeypatch, parallelism={"tensor": 3})
    one.hear()
    entry = one.deployments.get(KEY)
    await one.run()
    assert one.status["conditions"]
    planned = entry.memory.scale.planned is not None
    assert bool(one.scaler._tasks) == planned


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
    for _ in range(200):
        await one.look(seconds=10)
    assert one.scale.asked == len(one.groups()) == asked
    assert one.condition("Autoscaled")["reason"] == "SignalsMissing"
    assert "demo-router-1-a" in one.condition("Autoscaled")["message"]
    await one.play(2.0, 120)
    assert one.condition("Autoscaled")["status"] == "True"


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


async def test_one_router_of_two_that_falls_silent_takes_nothing_away(one):
    one.router("demo-router-1-b")
    one.hear()
    for each in range(60):
        one.answer = [document(each * 2), document(each * 2)]
        await one.look()
        await one.serve()
    asked = one.scale.asked
    for _ in range(200):
        one.answer = [document(118), None]
        await one.look(seconds=10)
    assert one.scale.asked >= asked > 1
    assert one.condition("Autoscaled")["reason"] == "SignalsMissing"


async def test_a_router_that_does_not_serve_yet_holds_nothing_up(one):
    one.router("demo-router-1-b", ready=False)
    one.hear()
    await one.play(3.0, 60)
    high = one.scale.asked
    for _ in range(400):
        one.answer = [document(one.requests), None]
        await one.look(seconds=10)
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
        one.clock.time = lambda jump=jump: 1_800_000_000.0 + one.clock.now + jump
        await one.play(1.0, 60)
    assert one.scale.asked == asked
    assert one.scale.state.bins[: len(bins) - 1] == bins[:-1]


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


@pytest.mark.parametrize(("routers", "seconds"), [(0, 2.0), (1, 2.0), (400, 2.0), (2000, 10.0)])
def test_there_are_never_more_questions_than_the_bound(routers, seconds):
    assert look_seconds(routers) == seconds
    assert routers / look_seconds(routers) <= MOST_A_SECOND


async def test_somebody_else_who_writes_the_number_is_told_of(one):
    fields = {"f:spec": {"f:replicas": {}}}
    moment = one.clock.timestamp()
    writers = [{"manager": "kube-controller-manager", "subresource": "scale", "time": moment, "fieldsV1": fields}]
    body = one.cluster.get("LLMDeployment", *KEY)
    one.deployments.see(body, scale_writers(writers))
    assert one.deployments.get(KEY).flag.is_set()
    await one.run(hear=False)
    assert one.condition("Autoscaled")["reason"] == "SecondOwner"
    assert "kube-controller-manager" in one.condition("Autoscaled")["message"]
