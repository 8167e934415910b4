"""Which groups are applied and which pruned, for every situation a rollout or a scale can meet."""

import pytest
from make import statefulset

from manta_operator.planning.fit import Choice, Fit
from manta_operator.planning.observe import observe
from manta_operator.planning.plan import plan
from manta_operator.planning.shape import Shape

CHOICE = Choice(Shape(1, 1, 1, "uni"), Fit("True", "it fits"))


def new(index: int, ready: int = 1):
    return statefulset(f"demo-new-{index}", "new", index, ready=ready)


def old(index: int, ready: int = 1):
    return statefulset(f"demo-old-{index}", "old", index, ready=ready)


def mid(index: int, ready: int = 0, pods: int = 1):
    return statefulset(f"demo-mid-{index}", "mid", index, ready=ready, pods=pods)


@pytest.mark.parametrize(
    ("case", "replicas", "existing", "pruned"),
    [
        ("nothing exists", 2, [], []),
        ("everything exists", 2, [new(0), new(1)], []),
        ("scaled down: the highest index leaves", 1, [new(0), new(1)], ["demo-new-1"]),
        ("scaled to zero", 0, [new(0), new(1)], ["demo-new-0", "demo-new-1"]),
        ("rollout, nothing new serves: all old ones stay", 2, [old(0), old(1), new(0, ready=0)], []),
        ("rollout, half serves: all old ones stay", 2, [old(0), old(1), new(0), new(1, ready=0)], []),
        ("rollout, all serve: the old ones leave", 2, [old(0), old(1), new(0), new(1)], ["demo-old-0", "demo-old-1"]),
        ("rollout and scale-down at once", 1, [old(0), old(1), new(0)], ["demo-old-0", "demo-old-1"]),
        ("rollout to zero", 0, [old(0)], ["demo-old-0"]),
        ("a third revision: the broken second makes room, the first serves on", 1, [old(0), mid(0)], ["demo-mid-0"]),
        ("the same once the third exists", 1, [old(0), mid(0), new(0, ready=0)], ["demo-mid-0"]),
        ("a second revision that half serves: what serves stays", 2, [old(0), mid(0, 1), mid(1)], []),
        ("a second revision whose group is half up stays", 1, [old(0), mid(0, ready=1, pods=2)], []),
        ("a broken replica of the serving revision may come back", 2, [old(0), old(1, ready=0), new(0, ready=0)], []),
        ("the only revision is broken, the new one is not there yet", 1, [old(0, ready=0)], []),
        ("the only revision is broken, the new one exists", 1, [old(0, ready=0), new(0, ready=0)], ["demo-old-0"]),
        ("all old ones are broken, the new one half serves", 2, [mid(0), new(0), new(1, ready=0)], ["demo-mid-0"]),
        ("back to the revision that serves", 2, [mid(0), new(0), new(1)], ["demo-mid-0"]),
    ],
)
def test_prune(case, replicas, existing, pruned):
    made = plan("demo", replicas, CHOICE, "new", observe(existing, [], []))
    assert [group.name for group in made.prune] == pruned, case
    assert [group.name for group in made.groups] == [f"demo-new-{index}" for index in range(replicas)]


def test_the_same_observation_gives_the_same_plan():
    observed = observe([new(1), new(0), old(0)], [], [])
    shuffled = observe([old(0), new(0), new(1)], [], [])
    assert plan("demo", 2, CHOICE, "new", observed) == plan("demo", 2, CHOICE, "new", shuffled)


def test_sentences_carry_the_numbers():
    made = plan("demo", 2, CHOICE, "new", observe([old(0), new(0)], [], []))
    said = {decision.reason: decision.message for decision in made.decisions}
    assert said["RollingOut"] == "1 of 2 replicas of revision new serve: keeping 1 older replica"
    assert said["Fit"] == "it fits"


def test_a_group_being_deleted_is_no_group_any_more():
    leaving = new(0)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert observe([leaving], [], []).groups == ()


def test_a_status_of_an_older_generation_does_not_count_as_ready():
    stale = new(0)
    stale["metadata"]["generation"] = 2
    assert observe([stale], [], []).ready_groups() == 0


def test_a_sentence_says_who_makes_room_for_whom():
    made = plan("demo", 1, CHOICE, "new", observe([old(0), mid(0)], [], []))
    said = {decision.reason: decision.message for decision in made.decisions}
    assert said["MakingRoom"] == (
        "no pod of demo-mid-0 is ready, and revision mid is outdated: it leaves at once, to make room for new"
    )
    assert said["RollingOut"] == "0 of 1 replicas of revision new serve: keeping 1 older replica"
