"""How groups are judged: who hangs, who is restarted and how often, whose node is lost, who is late."""

import pytest
from groups import Group, bodies, condition, crashing, group, pod, restarted, stamp, stopped, unhelped, unschedulable

from manta_operator.planning import health
from manta_operator.planning.health import BUDGET, Deadlines, Restart
from manta_operator.planning.observe import observe

DEADLINES = Deadlines(startup=1800, progress=2400)
BORN = 1_000_000.0


def see(made, now, lost=frozenset()):
    observed = observe(*bodies(made), [], now, lost)
    return observed.groups[0], observed


def unmade(age):
    """Its pods are not made, perhaps because of a quota."""
    made = group("new", 0, ready=False, created=BORN + age)
    made.pods = []
    return made


def running(made, restarts, **status):
    """An engine that runs after it ended a few times."""
    for body in made.pods:
        body["status"]["containerStatuses"][0]["restartCount"] = restarts
        body["status"] |= status
    return made


def slow_clock(made):
    """Its node's clock is a quarter of an hour behind: that of the API server says when it was created."""
    return running(made, 0, startTime=stamp(BORN - 900), conditions=[condition("Ready", "False", BORN - 900)])


def fetched(made, at):
    """Its weights were there at a moment."""
    for body in made.pods:
        body["status"].setdefault("conditions", []).append(condition("Initialized", "True", at))
    return made


def fetching(made):
    """Its init container fetches the weights."""
    for body in made.pods:
        running = {"name": "fetch", "restartCount": 0, "state": {"running": {"startedAt": stamp(BORN)}}}
        body["status"] |= {"phase": "Pending", "initContainerStatuses": [running], "containerStatuses": []}
    return made


def starting(pods=1):
    return group("new", 0, ready=False, pods=pods, created=BORN)


def serving(pods=1):
    return group("new", 0, pods=pods, created=BORN)


def half(made, at):
    """Only the head stopped serving; its worker did not notice."""
    made.pods[0]["status"]["conditions"] = [condition("Ready", "False", at)]
    return made


def revived(made, at):
    """The engine ended, and its kubelet started it again."""
    for body in stopped(made, at).pods:
        body["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": stamp(at + 1)}}
    return made


def mixed():
    """What fetches adapters fails in one pod, and the engine of the other one is not ready."""
    made = starting(pods=2)
    unhelped(Group(made.statefulset, made.pods[:1]))
    return made


@pytest.mark.parametrize(
    ("case", "made", "due"),
    [
        ("never served: startupSeconds", starting(), BORN + 1800),
        ("the first restart waits a minute longer", restarted(starting(), 1, BORN - 1), BORN + 1860),
        ("the fifth a quarter of an hour", restarted(starting(), 4, BORN - 1), BORN + 1800 + 900),
        ("served, and the same engine stopped: it hangs", stopped(serving(), BORN + 900), BORN + 1260),
        ("of two pods one stopped", half(serving(pods=2), BORN + 900), BORN + 1260),
        ("served, and its engine starts anew: startupSeconds", revived(serving(), BORN + 900), BORN + 2700),
        ("fetched for an hour: startupSeconds from then on", fetched(starting(), BORN + 3600), BORN + 5400),
        ("nothing to fetch", fetched(starting(), BORN - 1), BORN + 1800),
        ("fetches still: a restart would lose what is there", fetching(starting()), None),
        ("the clock of its node is behind", slow_clock(starting()), BORN + 1800),
        ("serves", group("new", 0, created=BORN), None),
        ("waits for a place: a restart would not help", unschedulable(starting(), BORN), None),
        ("all engines are ready, and what fetches adapters is not", unhelped(starting(2)), None),
        ("they served before", unhelped(stopped(serving(), BORN + 900)), None),
        ("the engine is not ready either", unhelped(starting(), engine=False), BORN + 1800),
        ("of two pods the engine of one is not ready", mixed(), BORN + 1800),
        ("the last restart is under way", restarted(starting(), 1, BORN + 1), None),
    ],
)  # fmt: skip
def test_when_a_restart_is_due(case, made, due):
    assert health.restart_due(see(made, BORN + 1000)[0], DEADLINES) == due, case


def test_a_fetch_counts_for_the_progress_deadline():
    made = fetching(starting())
    assert health.trouble(see(made, BORN + 2399)[0], DEADLINES, BORN + 2399) is None
    late = health.trouble(see(made, BORN + 2400)[0], DEADLINES, BORN + 2400)
    assert late.late
    assert "still fetches the model after 2400 s; if it is only large" in late.message


def test_a_fetch_that_is_tried_again_is_no_engine_that_ends():
    made = fetching(starting())
    made.pods[0]["status"]["initContainerStatuses"][0]["restartCount"] = 3
    found = health.trouble(see(made, BORN + 100)[0], DEADLINES, BORN + 100)
    assert found.message == f"pod {made.pods[0]['metadata']['name']}: its fetch ended 3 times"


def test_the_youngest_pod_counts():
    made = starting(pods=2)
    made.pods[1] = pod(made.statefulset, 1, created=BORN + 300)
    assert health.restart_due(see(made, BORN)[0], DEADLINES) == BORN + 2100


def test_a_group_that_lacks_a_pod_is_not_restarted():
    made = starting(pods=2)
    del made.pods[1]
    assert health.restart_due(see(made, BORN)[0], DEADLINES) is None


def test_a_restart_is_noted_and_its_pods_go_at_once():
    seen, _ = see(starting(pods=2), BORN + 1800)
    noted = health.restarts([seen], DEADLINES, BORN + 1800)
    assert noted == (Restart("demo-new-0", "uid-demo-new-0", 1, BORN + 1),)
    assert [name for name, _ in health.evictions([seen], noted)] == ["demo-new-0-0", "demo-new-0-1"]
    assert health.restarts([seen], DEADLINES, BORN + 1799) == ()


def test_a_restart_that_was_interrupted_goes_on_where_it_stopped():
    made = restarted(starting(pods=2), 1, BORN + 1)
    made.pods[0] = pod(made.statefulset, 0, created=BORN + 1900)
    seen, _ = see(made, BORN + 1905)
    assert health.restarts([seen], DEADLINES, BORN + 1905) == ()
    assert [name for name, _ in health.evictions([seen])] == ["demo-new-0-1"]


def test_the_operators_clock_does_not_matter():
    """Replacements are created long after the pods that go, whatever the operator takes the time for."""
    seen, _ = see(starting(), BORN + 90_000)
    (noted,) = health.restarts([seen], DEADLINES, BORN + 90_000)
    fresh = restarted(starting(), noted.count, noted.at)
    fresh.pods[0] = pod(fresh.statefulset, 0, created=BORN + 1900)
    assert health.evictions([see(fresh, BORN + 1900)[0]]) == ()


def test_the_budget_is_spent():
    made = crashing(restarted(starting(), BUDGET, BORN - 1))
    now = BORN + 1800 + 60 * 31
    seen, _ = see(made, now)
    assert health.restarts([seen], DEADLINES, now) == ()
    trouble = health.trouble(seen, DEADLINES, now)
    assert (trouble.spent, trouble.restarts) == (True, 5)
    assert trouble.message == (
        "restarted 5 times in vain; pod demo-new-0-0: CrashLoopBackOff: back-off 40s; it last said: CUDA out of memory"
    )


@pytest.mark.parametrize(("since", "count"), [(BORN + 60, None), (BORN + 50, 0)])
def test_ten_minutes_of_service_forgive_everything(since, count):
    made = restarted(group("new", 0, created=BORN), 3, BORN - 100)
    made.pods[0]["status"]["conditions"] = [condition("Ready", "True", since)]
    found = health.restarts([see(made, BORN + 650)[0]], DEADLINES, BORN + 650)
    assert [each.count for each in found] == ([] if count is None else [0])
    assert all(each.at == BORN - 100 for each in found), "nobody is evicted by forgiving"


@pytest.mark.parametrize(
    ("case", "made", "now", "said"),
    [
        ("starting", starting(), BORN + 60, None),
        ("serves", group("new", 0, created=BORN), BORN + 9999, None),
        ("one restart of the engine is no trouble", revived(starting(), BORN + 30), BORN + 60, None),
        ("waits for a place", unschedulable(starting(), BORN), BORN + 60, None),
        ("waits too long", unschedulable(starting(), BORN), BORN + 2400,
         "pod demo-new-0-0: Unschedulable: 0/3 nodes are available"),
        ("it crashes for the second time", crashing(starting(), 1), BORN + 60,
         "pod demo-new-0-0: CrashLoopBackOff: back-off 40s; it last said: CUDA out of memory"),
        ("and runs again: it fails until it serves", running(starting(), 2), BORN + 60,
         "pod demo-new-0-0: its engine ended 2 times"),
        ("one that served may end twice", running(revived(serving(), BORN + 900), 2), BORN + 960, None),
        ("no pods for too long", unmade(0), BORN + 2400,
         "0 of its 1 pods are made: see the events of StatefulSet demo-new-0"),
        ("gated", unschedulable(starting(), BORN, "SchedulingGated"), BORN + 60, None),
        ("ends again and again", crashing(starting()), BORN + 60,
         "pod demo-new-0-0: CrashLoopBackOff: back-off 40s; it last said: CUDA out of memory"),
        ("restarted before", restarted(starting(), 2, BORN - 1), BORN + 60,
         "restarted 2 of 5 times; it does not serve yet"),
        ("late", starting(), BORN + 2400, "its pods do not serve 2400 s after they were due to start"),
    ],
)  # fmt: skip
def test_trouble(case, made, now, said):
    found = health.trouble(see(made, now)[0], DEADLINES, now)
    assert (found.message if found else None) == said, case


@pytest.mark.parametrize(
    ("case", "made", "late"),
    [
        ("from its creation", starting(), BORN + 2400),
        ("a pod that was evicted starts anew", group("new", 0, ready=False, created=BORN + 500), BORN + 2900),
        ("a restart of ours is no excuse", restarted(starting(), 1, BORN + 1), BORN + 2400),
        ("it got its place late", running(starting(), 0, startTime=stamp(BORN + 3000)), BORN + 5400),
        ("it served until", stopped(group("new", 0, created=BORN), BORN + 5000), BORN + 7400),
    ],
)
def test_when_a_group_is_late(case, made, late):
    made.statefulset["metadata"]["creationTimestamp"] = stamp(BORN)
    assert health.late_at(see(made, BORN)[0], DEADLINES) == late, case


def test_states():
    blinking = stopped(group("old", 0, created=BORN), BORN + 900)
    assert health.state(*see(blinking, BORN + 950)) == "blinking"
    assert health.state(*see(blinking, BORN + 1300)) == "starting"
    assert health.state(*see(group("old", 0, created=BORN), BORN + 900)) == "serving"
    assert health.state(*see(group("old", 0, created=BORN), BORN + 900, frozenset({"node-1"}))) == "lost"
    assert health.state(*see(starting(), BORN + 10)) == "starting"


@pytest.mark.parametrize(("after", "lost"), [(59, False), (60, True)])
def test_a_pod_that_does_not_end_is_lost(after, lost):
    made = group("old", 0, created=BORN)
    made.pods[0]["metadata"]["deletionTimestamp"] = stamp(BORN + 100)
    seen, observed = see(made, BORN + 100 + after)
    assert (seen.lost, seen.ready) == (lost, False)
    assert observed.suspects == {"node-1"}


def test_moments_to_look_again():
    seen, _ = see(stopped(group("old", 0, created=BORN), BORN + 900), BORN + 901)
    assert set(health.moments([seen], DEADLINES)) == {BORN + 900 + health.NODE_SECONDS, BORN + 1260, BORN + 3300}
