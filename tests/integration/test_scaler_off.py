"""Somebody leaves out spec.autoscaling under load: what serves is not taken away in one pass."""

import pytest
from scaled_deployment import QUICK, Scaled

from manta_operator.controller import scaler as scalers
from manta_operator.controller.errors import Transient


@pytest.fixture
async def one(monkeypatch):
    one = Scaled(monkeypatch, autoscaling=QUICK)
    await one.begin()
    await one.play(5.0, 60)
    assert one.scale.asked == len(one.groups()) == 8
    return one


async def minute(one):
    one.clock.now += 60
    outcome = await one.run()
    return len(one.groups()), outcome


async def test_the_advice_takes_nothing_away_and_the_spec_is_reached_within_minutes(one, monkeypatch):
    monkeypatch.setattr(scalers, "decide", lambda *_: 1 / 0)
    await one.look(5.0)
    await one.run()
    assert "set spec.replicas to what is needed (8 now) in the same change" in one.condition("Autoscaled")["message"]
    one.change(autoscaling=None)
    outcome = await one.run()
    assert (len(one.groups()), one.status["desiredReplicas"]) == (8, 8)
    assert outcome.pause <= 60
    told = one.condition("Autoscaled")
    assert (told["status"], told["reason"]) == ("False", "TurnedOff")
    assert "spec.replicas says 1: 8 replicas stay for now" in told["message"]
    found = [await minute(one) for _ in range(4)]
    assert [number for number, _ in found] == [4, 2, 1, 1]
    assert "Autoscaled" not in {each["type"] for each in one.status["conditions"]}
    assert "autoscaling" not in one.status
    assert found[-1][1].pause > 60, "nothing is to be done any more"


async def test_whoever_sets_replicas_is_followed_up_at_once(one):
    one.change(autoscaling=None)
    await one.run()
    one.change(replicas=9)
    await one.run()
    assert (len(one.groups()), "autoscaling" in one.status) == (9, False)


async def test_an_operator_that_restarts_goes_on_from_there(one):
    one.change(autoscaling=None)
    await one.run()
    await minute(one)
    one.restart()
    one.hear()
    await one.run()
    assert len(one.groups()) == 4
    one.change(autoscaling=QUICK)
    await one.run()
    assert len(one.groups()) == 4, "the autoscaler goes on from there"


async def test_a_number_that_cannot_be_written_is_not_followed(one):
    one.change(autoscaling=None)
    await one.run()
    real = one.client.apply

    async def apply(obj, subresource=None, *args, **kwargs):
        if subresource:
            raise Transient("apply status: away")
        return await real(obj, subresource, *args, **kwargs)

    one.client.apply = apply
    one.clock.now += 60
    with pytest.raises(Transient):
        await one.run()
    assert (len(one.groups()), one.status["autoscaling"]["replicas"]) == (8, 8)
    one.client.apply = real
    await one.run()
    assert (len(one.groups()), one.status["autoscaling"]["replicas"]) == (4, 4)
