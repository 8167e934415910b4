"""While nothing is asked for a question waits at each router: who comes wakes the deployment, and nothing ends that."""

import asyncio
from functools import partial

import pytest
from one_deployment import KEY
from scaled_deployment import Scaled, document

from manta_operator.controller import demand
from manta_operator.controller import scaler as scalers
from manta_operator.scaling.reading import read

ZERO = {"minReplicas": 0, "maxReplicas": 8}


@pytest.fixture
async def asleep(monkeypatch):
    """A deployment without replicas, whose looks go on by themselves; `said` is what its router says next."""
    monkeypatch.setattr(demand, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(scalers, "LOOK_SECONDS", 0.02)
    one = Scaled(monkeypatch, autoscaling=ZERO, replicas=0)
    one.router()
    one.said, one.held = asyncio.Queue(), 0

    async def hold(*_):
        one.held += 1
        return read(await one.said.get())

    one.scaler._routers.hold = hold
    one.scaler._keep_looking = partial(scalers.Scaler._keep_looking, one.scaler)
    await one.settle()
    await until(lambda: one.held == 1)
    one.deployments.get(KEY).flag.clear()
    yield one
    await one.reconciler.close()


async def until(holds):
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 30 s")


async def test_while_nothing_is_asked_for_a_question_waits_at_the_router(asleep):
    await asyncio.sleep(0.1)
    assert (asleep.held, asleep.asked, asleep.scale.asked) == (1, 1, 0)
    asleep.said.put_nowait(document(1, held=1))
    await asyncio.wait_for(asleep.deployments.get(KEY).flag.wait(), 30)
    assert asleep.scale.asked == 1
    await until(lambda: asleep.asked > 2)  # the looks have begun


async def test_the_question_waits_as_soon_as_the_last_replica_is_given_up(asleep, monkeypatch):
    async def look(_, scale):
        scale.asked = 0

    monkeypatch.setattr(demand, "LOOK_SECONDS", 600.0)  # as a pause between looks would be
    asleep.scaler._look = look
    asleep.scale.asked = 1
    await until(lambda: asleep.held == 2)


async def test_one_that_answers_at_once_is_not_asked_over_and_over(asleep):
    for _ in range(1000):
        asleep.said.put_nowait(document(0))
    await asyncio.sleep(0.3)
    assert 1 < asleep.held <= 16
    assert asleep.scale.asked == 0


async def test_a_router_that_comes_while_nothing_is_asked_for_is_asked_too(asleep):
    asleep.router("demo-router-1-b")
    asleep.hear()
    await until(lambda: asleep.held == 3)  # the first is asked anew


async def test_a_bug_while_it_waits_ends_nothing(asleep, monkeypatch, caplog):
    monkeypatch.setattr(scalers, "BUG_SECONDS", 0.01)
    newsworthy = scalers._newsworthy
    monkeypatch.setattr(scalers, "_newsworthy", lambda *_: 1 / 0)
    asleep.said.put_nowait(document(0))
    await until(lambda: "a bug; 0 replicas stay" in caplog.text)
    monkeypatch.setattr(scalers, "_newsworthy", newsworthy)
    asleep.answer = document(1, held=1)
    await until(lambda: asleep.scale.asked == 1)


async def test_who_goes_is_looked_at_no_more(asleep):
    entry = asleep.deployments.get(KEY)
    asleep.reconciler.leave(entry)
    await until(lambda: not asleep.scaler._tasks)


async def test_whose_autoscaling_goes_is_looked_at_no_more(asleep):
    asleep.change(autoscaling=None)
    await asleep.run()
    await until(lambda: not asleep.scaler._tasks)


async def test_a_pod_that_gets_another_address_is_asked_there(asleep):
    where = []

    async def hold(pod, *_):
        where.append(pod.address)
        return read(await asleep.said.get())

    asleep.scaler._routers.hold = hold
    status = {"podIP": "127.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]}
    asleep.cluster.patch_status("Pod", "default", "demo-router-1-a", {"status": status})
    asleep.hear()
    await until(lambda: where == ["127.0.0.9"])


async def test_a_router_that_goes_and_holds_a_request_wakes_it(asleep):
    uid = asleep.cluster.get("Pod", "default", "demo-router-1-a")["metadata"]["uid"]
    asleep.store.expect_gone(uid)
    asleep.said.put_nowait(document(1, held=1))
    await until(lambda: asleep.scale.asked == 1)


@pytest.mark.parametrize("broken", ["decide", "take"])
async def test_a_bug_in_the_decision_leaves_nobody_waiting(asleep, monkeypatch, broken):
    monkeypatch.setattr(scalers, broken, lambda *_: 1 / 0)
    asleep.said.put_nowait(document(1, held=100))
    await until(lambda: asleep.scale.asked == 1)
    await asleep.run()
    assert asleep.status["autoscaling"]["reason"] == "InternalError"
    assert "a request waits" in asleep.status["autoscaling"]["changes"][0]["message"]
    assert len(asleep.groups()) == 1
