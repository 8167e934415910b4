"""Replicas that follow the demand while a rollout cannot go on: none is kept for nobody, the last that serves is."""

import pytest
from scaled_deployment import QUICK, Scaled

IN_PLACE = {"surge": 1, "unavailable": 0}
LONG_AGO = "2020-01-01T00:00:00Z"
NO_PLACE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/8 nodes"}
CRASHES = {
    "name": "engine",
    "ready": False,
    "restartCount": 9,
    "image": "i",
    "imageID": "i",
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": LONG_AGO, "finishedAt": LONG_AGO}},
}


def waits(one, group):
    one.pod(group, phase="Pending", conditions=[NO_PLACE | {"lastTransitionTime": LONG_AGO}])


def crashes(one, group):
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": LONG_AGO}
    placed = {"type": "PodScheduled", "status": "True"}
    one.pod(group, phase="Running", startTime=LONG_AGO, containerStatuses=[CRASHES], conditions=[placed, unready])


async def idle(one):
    """Let minutes pass without a request; what is pruned has drained by the next look."""
    for _ in range(60):
        if await one.look(0.0, 5):
            there = {group["metadata"]["name"] for group in one.groups()}
            for pod in one.cluster.list("Pod", "default"):
                name = pod["metadata"]["name"]
                if "router" not in name and name.removesuffix("-0") not in there:
                    one.cluster.delete("Pod", "default", name, grace_seconds=0)
            await one.run()


async def rolled(monkeypatch, becomes, rate, **autoscaling):
    """Have replicas for a load, and then a revision of which the first group `becomes` something."""
    one = Scaled(monkeypatch, autoscaling=QUICK | autoscaling, rollout=IN_PLACE)
    await one.begin()
    await one.play(rate, 60)
    old = {group["metadata"]["name"] for group in one.groups()}
    one.change(engine={"image": "registry/new:1"})
    await one.run()
    for group in one.groups():
        if group["metadata"]["name"] not in old:
            becomes(one, group)
    await one.settle()
    return one, old


async def test_a_rollout_that_waits_for_room_gets_that_of_replicas_which_nobody_needs(monkeypatch):
    one, old = await rolled(monkeypatch, waits, 5.0)
    assert (one.condition("Progressing")["reason"], len(old), one.scale.asked) == ("NoRoom", 8, 8)
    await idle(one)
    assert one.scale.asked == 1
    names = {group["metadata"]["name"] for group in one.groups()}
    assert len(names - old) == 1, "the new one, which waits for a place"
    assert len(names & old) == 1, "one of before serves until it has"


async def test_while_a_rollout_is_paused_a_need_has_words_and_goes_again(monkeypatch):
    one, old = await rolled(monkeypatch, crashes, 0.2)
    assert (one.condition("Degraded")["status"], len(old)) == ("True", 1)
    assert one.condition("Autoscaled")["status"] == "True"
    for _ in range(30):
        await one.look(6.0)
    await one.run()
    assert one.scale.asked == 8
    told = one.condition("Autoscaled")
    assert (told["status"], told["reason"]) == ("False", "RolloutPaused")
    assert "8 replicas are asked for and 1 serve, but the rollout of revision" in told["message"]
    await idle(one)
    assert one.scale.asked == 1, "who mends the image gets no 8 replicas for nobody"
    assert one.condition("Autoscaled")["reason"] == "Following"


@pytest.mark.parametrize(("becomes", "asked"), [(crashes, 1), (waits, 0)])
async def test_the_last_one_that_serves_stays_while_all_others_are_broken(monkeypatch, becomes, asked):
    one, old = await rolled(monkeypatch, becomes, 0.2, minReplicas=0, scaleToZero={"afterSeconds": 60})
    await idle(one)
    assert one.scale.asked == asked
    assert len(old & {group["metadata"]["name"] for group in one.groups()}) == asked
