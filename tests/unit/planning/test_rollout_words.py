"""What a plan says of a rollout that does not go on, and of many restarts at once."""

import pytest
from groups import bodies, crashing, group, restarted, unschedulable
from make import LLAMA_8B, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.placement.room import Room
from manta_operator.planning.choice import Choice
from manta_operator.planning.fit import Fit
from manta_operator.planning.observe import Observed, observe
from manta_operator.planning.plan import Circumstances, Deadlines, Wish, plan
from manta_operator.planning.rollout_words import Decision, gathered
from manta_operator.planning.shape import Shape

CHOICE = Choice(Shape(1, 1, 1, "uni"), Fit("True", "it fits"))
NOW = 100_000.0
UNSUITED = Room(0, "0 of 3 nodes suit", suitable=0)


def decide(groups, wish, room=None):
    return plan("demo", wish, Deadlines(), CHOICE, "new", observe(*bodies(*groups), [], NOW), Circumstances(room))


def unmade(age):
    made = group("new", 0, ready=False, created=NOW - age)
    made.pods = []
    return made


OLD, BAD = group("old", 0), crashing(group("new", 0, ready=False, created=NOW - 500))
GATED = unschedulable(group("new", 0, ready=False, created=NOW - 3000), NOW - 3000, "SchedulingGated")


@pytest.mark.parametrize(
    ("case", "made", "state", "said"),
    [
        ("waits beyond the deadline", decide([OLD, GATED], Wish(1)), "waiting NoRoom",
         "SchedulingGated: 0/3 nodes are available; free accelerators, or set spec.rollout.unavailable: 1"),
        ("no pods", decide([OLD, unmade(3000)], Wish(1)), "waiting NoRoom",
         "0 of 1 pod of demo-new-0 made, which the events of its StatefulSet explain (often a quota)"),
        ("no node suits", decide([OLD], Wish(1, 0, 1), UNSUITED), "waiting NoRoom",
         "none does: 0 of 3 nodes suit; check spec.accelerator, spec.scheduling and spec.podTemplate"),
        ("paused, and one is missing", decide([OLD, BAD], Wish(3)), "paused Failing",
         "the missing 1 of 3 replicas not started before a new one serves"),
        ("paused, and one is replaced", decide([OLD, BAD, group("new", 1)], Wish(4)), "paused Failing",
         "nothing more is taken away, and only the missing 1 started"),
    ],
)  # fmt: skip
def test_what_holds_it_up_and_what_to_do(case, made, state, said):
    assert f"{made.rollout.state} {made.rollout.reason}" == state, case
    assert said in made.rollout.message, case


def test_many_restarts_are_one_decision():
    made = decide([group("new", index, ready=False) for index in range(80)], Wish(80))
    assert len(made.restart) == 80
    (told,) = [each.message for each in made.decisions if each.reason == "Restarting"]
    assert told.startswith("80 groups ran and did not serve within their deadlines: restart of demo-new-0 (1 of 5), ")
    assert told.endswith("and 76 more")


def test_few_restarts_are_told_apart():
    made = decide([group("new", index, ready=False) for index in range(3)], Wish(3))
    assert [each.reason for each in made.decisions].count("Restarting") == 3


def test_forgiving_is_one_decision():
    made = decide([restarted(group("new", index), 2, 1.0) for index in range(80)], Wish(80))
    (told,) = [each.message for each in made.decisions if each.reason == "Healed"]
    assert told.endswith("and 76 more have served long enough: restarts are forgiven")


def looked_at(**spec):
    found = desire(deployment(**spec), LLAMA_8B, Observed())
    assert isinstance(found, Desired)
    return found.plan.decisions


def test_how_things_stood_at_an_earlier_look_is_not_said_any_more():
    adapter = {"name": "sql", "uri": "hf://org/sql"}
    before = looked_at(
        model={"uri": "hf://org/model", "adapters": [adapter]},
        engine={"kvCacheDtype": "fp8"},
        accelerator={"type": "nvidia-a100-80gb", "perPod": 2},
        parallelism={"data": 2},
    )
    assert {each.reason for each in before} == {"Shaped", "Fit", "Advice", "EngineOption", "Adapters"}
    after = looked_at()
    assert gathered((before, after)) == after
    done = Decision("ScalingDown", "1 replica is asked for")
    assert gathered(((*before, done), after)) == (*after, done), "what was done is"
