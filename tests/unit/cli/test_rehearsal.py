"""A rollout on paper: whatever it begins with, the steps end where the spec wants to be."""

import pytest

from manta_operator.api.models import parse
from manta_operator.builders.desired import desire
from manta_operator.cli import rehearsal
from manta_operator.cli.rehearsal import Live, rehearse
from manta_operator.placement.room import Room
from manta_operator.planning.observe import Observed

NOW = 1_800_000_000.0


def deployment(replicas=2, max_model_len=1024, **rollout):
    spec = {"model": {"uri": "hf://org/model"}, "accelerator": {"type": "cpu"}, "replicas": replicas}
    spec |= {"engine": {"maxModelLen": max_model_len}, "rollout": rollout}
    metadata = {"name": "m", "namespace": "default", "uid": "u", "generation": 1}
    return parse({"metadata": metadata, "spec": spec})


def groups(about, serving=True):
    """The groups of a deployment, for an hour."""
    objects = desire(about, None, Observed()).objects
    sets = [body for body in objects if body["kind"] == "StatefulSet"]
    if not serving:
        starting = [rehearsal._served(body, NOW - 30) for body in sets]
        return [
            body | {"status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": 0}} for body in starting
        ], []
    pods = [rehearsal._ready_pod(body, 0, NOW - 3600) for body in sets]
    return [rehearsal._served(body, NOW - 3600) for body in sets], pods


def live(*parts):
    return Live(
        tuple(body for sets, _ in parts for body in sets), tuple(pod for _, pods in parts for pod in pods), (), NOW
    )


def ends_with(outcome, there, replicas):
    """Whether the steps lead from the groups that are there to as many of the new revision."""
    names = {body["metadata"]["name"] for body in there.statefulsets}
    for step in outcome.steps:
        assert not names & set(step.start)
        assert names >= set(step.leave)
        names = (names | set(step.start)) - set(step.leave)
    revision = outcome.first.plan.revision
    return len(names) == replicas and all(name.startswith(f"m-{revision}-") for name in names)


@pytest.mark.parametrize(
    ("case", "room", "rollout", "before_the_first_leaves"),
    [
        ("room for a surge", Room(4, "free"), {}, "start"),
        ("room not known", None, {}, "start"),
        ("no room", Room(0, "full"), {}, "leave"),
        ("no surge wanted", None, {"surge": 0, "unavailable": 1}, "leave"),
    ],
)
def test_a_new_template(case, room, rollout, before_the_first_leaves):
    there = live(groups(deployment()))
    outcome = rehearse(deployment(max_model_len=512, **rollout), None, there, None, room)
    assert ends_with(outcome, there, 2), outcome.steps
    assert bool(outcome.steps[0].start and not outcome.steps[0].leave) == (before_the_first_leaves == "start"), case


def test_a_rollout_that_has_begun_is_told_to_its_end():
    after = deployment(max_model_len=512)
    new, _ = groups(after, serving=False)
    there = live(groups(deployment()), (new[:1], []))
    assert ends_with(rehearse(after, None, there), there, 2)


@pytest.mark.parametrize(("case", "replicas"), [("up", 4), ("down", 1), ("to nothing", 0), ("not at all", 2)])
def test_scaling(case, replicas):
    there = live(groups(deployment()))
    outcome = rehearse(deployment(replicas), None, there)
    assert ends_with(outcome, there, replicas), case
    assert len(outcome.steps) == (0 if replicas == 2 else 1)


def test_without_room_and_without_leave_to_be_unavailable_it_says_that_it_waits():
    there = live(groups(deployment(1)))
    outcome = rehearse(deployment(1, 512), None, there, None, Room(0, "every GPU is taken"))
    assert outcome.steps == ()
    assert "every GPU is taken" in outcome.end
