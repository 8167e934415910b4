"""Replicas that follow the demand: what looks and passes do together, on clocks of the test's own."""

import pytest
from one_deployment import KEY
from scaled_deployment import QUICK, Scaled, document

from manta_operator.controller.demand import MOST_A_SECOND, look_seconds
from manta_operator.controller.deployments import scale_writers
from manta_operator.controller.errors import Transient
from manta_operator.controller.scale_losses import Saved

ZERO = QUICK | {"minReplicas": 0, "scaleToZero": {"afterSeconds": 60}}


@pytest.fixture
async def one(monkeypatch):
    one = Scaled(monkeypatch, autoscaling=QUICK)
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
    await one.play(0.1, 400, every=5)
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
    await one.play(1.0, 300)
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


async def test_of_two_that_serve_the_one_goes_whose_cache_saves_least(one):
    one.scale.asked = 2
    await one.settle()
    await one.serve()
    first, second = (each["metadata"]["name"] for each in one.groups())
    one.scale.saved = {first: saved(10.0), second: saved(5000.0)}  # else the younger would go
    one.scale.asked = 1
    await one.run()
    assert [each["metadata"]["name"] for each in one.groups()] == [second]


def saved(tokens):
    return Saved("1", ((0.0, 0.0),), tokens, 0)
