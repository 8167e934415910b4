"""Which groups are started and which leave, for every situation a start, a scale or a rollout can meet."""

import pytest
from groups import bodies, crashing, group, pod, restarted, stamp, stopped, unschedulable

from manta_operator.placement.room import Room
from manta_operator.planning.fit import Fit
from manta_operator.planning.observe import observe
from manta_operator.planning.plan import Circumstances, Deadlines, Wish, plan
from manta_operator.planning.search import Choice
from manta_operator.planning.shape import Shape

CHOICE = Choice(Shape(1, 1, 1, "uni"), Fit("True", "it fits"))
NOW = 10_000.0
FULL = Room(0, "0 of 8 nvidia.com/gpu are free")
UNSUITED = Room(0, "0 of 0 free on 0 of 3 nodes: no place for one", suitable=0)
FREE = Room(9, "8 of 8 nvidia.com/gpu are free")


def new(index, **how):
    return group("new", index, created=NOW - 500, **how)


def old(index, **how):
    return group("old", index, **how)


def blink(index, revision="old"):
    return stopped(group(revision, index), NOW - 10)


def revived(index, at):
    """An old group whose engine ended, and is started again."""
    made = stopped(old(index), at)
    made.pods[0]["status"]["containerStatuses"][0] |= {
        "restartCount": 1,
        "state": {"running": {"startedAt": stamp(at + 2)}},
    }
    return made


def halved(made):
    """The group that lacks a pod."""
    made.pods.pop()
    return made


def evicted(made):
    """The group whose pods drain, but not the group."""
    for body in made.pods:
        body["metadata"]["deletionTimestamp"] = stamp(NOW + 30)
    return made


def replaced(made, at):
    """The group whose pods were made anew."""
    made.pods = [pod(made.statefulset, ordinal, created=at) for ordinal in range(len(made.pods))]
    return made


def unmade(index, at):
    """A new group whose pods a quota refuses."""
    made = group("new", index, ready=False, created=at)
    made.pods = []
    return made


def gone(index, revision="old"):
    """A group whose StatefulSet was pruned and whose pods drain."""
    made = group(revision, index)
    made.statefulset["metadata"]["deletionTimestamp"] = "1970-01-01T02:46:40Z"
    for body in made.pods:
        body["metadata"]["deletionTimestamp"] = "1970-01-01T02:47:40Z"
    return made


def decide(groups, replicas, surge="auto", unavailable="auto", room=None, loads=None, **more):
    observed = observe(*bodies(*groups), [], NOW, **more)
    wish = Wish(replicas, surge, unavailable)
    return plan("demo", wish, Deadlines(), CHOICE, "new", observed, Circumstances(room, loads))


def steps(made, before):
    """What is started (+) and what leaves (-), without the prefix demo."""
    existing = {each.statefulset["metadata"]["name"] for each in before}
    started = [f"+{each.name[5:]}" for each in made.groups if each.name not in existing]
    return started + [f"-{each.name[5:]}" for each in made.prune]


BORN, SERVES, PENDING, LOST = new(0, ready=False), new(0), unschedulable(new(0), NOW - 90), gone(1)
ANEW = group("new", 7, ready=False, created=NOW - 100)
FRESH = group("new", 0, created=NOW - 62)
LOST.pods[0]["metadata"]["deletionTimestamp"] = "1970-01-01T01:00:00Z"


@pytest.mark.parametrize(
    ("case", "groups", "replicas", "expected"),
    [
        ("nothing exists: all at once", [], 3, "+new-0 +new-1 +new-2"),
        ("everything exists", [new(0), new(1)], 2, ""),
        ("scaled up", [new(0)], 3, "+new-1 +new-2"),
        ("scaled up: a free index is used", [new(1)], 2, "+new-0"),
        ("scaled up while a group of before drains: its name is not", [new(0), gone(1, "new")], 2, "+new-2"),
        ("scaled down: the highest index of the same age leaves", [new(0), new(1)], 1, "-new-1"),
        ("scaled down: what does not serve leaves first", [new(0, ready=False), new(1)], 1, "-new-0"),
        ("scaled down: the broken before the starting", [BORN, crashing(new(1, ready=False))], 1, "-new-1"),
        ("scaled to zero", [new(0), new(1)], 0, "-new-0 -new-1"),
        ("scaled to zero amid a rollout", [old(0), old(1), new(0)], 0, "-new-0 -old-0 -old-1"),
        ("the new ones serve: the old ones leave", [new(0), new(1), old(0), old(1)], 2, "-old-0 -old-1"),
        ("the new ones serve: a blinking old one leaves too", [new(0), blink(0)], 1, "-old-0"),
        ("the old does not serve: it makes room", [old(0, ready=False)], 1, "-old-0 +new-0"),
        ("the old one blinks: it stays", [blink(0), BORN], 1, ""),
        ("the old one hangs for long: it makes room", [stopped(old(0), NOW - 400), BORN], 1, "-old-0"),
        ("while others suffice, a minute is long", [stopped(old(0), NOW - 90), old(1), SERVES], 2, "-old-0"),
        ("they do not suffice: it has its time", [stopped(old(0), NOW - 90), old(1), BORN], 2, ""),
        ("they do not, and it has had its time", [stopped(old(0), NOW - 400), old(1), BORN], 2, "-old-0"),
        ("all old ones crashed a moment ago: all stay", [revived(i, NOW - 5) for i in range(4)] + [BORN], 4, ""),
        ("crashed, and not back in time: it makes room", [revived(0, NOW - 1900), BORN], 1, "-old-0"),
        ("it crashes again and again: it makes room", [crashing(revived(0, NOW - 9)), BORN], 1, "-old-0"),
        ("one pod of the only old group was evicted", [halved(old(0, pods=2))], 1, "+new-0"),
        ("the pod of the only old group drains", [evicted(old(0))], 1, "+new-0"),
        ("it drained, and is made anew", [replaced(old(0), NOW - 100), BORN], 1, ""),
        ("a third revision: the second never served", [old(0), group("mid", 0, ready=False)], 1, "-mid-0"),
        ("the new one fails: paused", [old(0), old(1), crashing(new(0, ready=False))], 2, ""),
        ("paused, scaled down: what is too much leaves", [old(0), old(1), crashing(new(0, ready=False))], 1, "-old-1"),
        ("paused, scaled up: nothing is started", [old(0), crashing(new(0, ready=False))], 4, ""),
        ("paused, one serves: what is missing starts", [old(0), crashing(new(0, ready=False)), new(1)], 4, "+new-2"),
        ("paused, one serves: no surge", [old(0), crashing(new(0, ready=False)), new(1)], 3, ""),
        ("paused: broken old ones stay too", [old(0, ready=False), old(1), crashing(new(0, ready=False))], 2, ""),
    ],
)  # fmt: skip
def test_steps(case, groups, replicas, expected):
    made = decide(groups, replicas, room=FREE)
    assert sorted(steps(made, groups)) == sorted(expected.split()), case


@pytest.mark.parametrize(
    ("case", "groups", "replicas", "how", "expected"),
    [
        ("auto, room: surge by one", [old(0), old(1)], 2, {"room": FREE}, "+new-0"),
        ("auto, room not known: try", [old(0), old(1)], 2, {}, "+new-0"),
        ("auto, no room: one in place", [old(0), old(1)], 2, {"room": FULL}, "-old-1"),
        ("auto, no room, a single replica: wait", [old(0)], 1, {"room": FULL}, ""),
        ("no room, an outage is allowed: in place", [old(0)], 1, {"room": FULL, "unavailable": 1}, "-old-0"),
        ("room, an outage is allowed: not needed", [old(0)], 1, {"room": FREE, "unavailable": 1}, "+new-0"),
        ("in place: the next waits until the old one has drained", [old(0), gone(1)], 2, {"room": FULL}, ""),
        ("in place: drained, the new one starts", [old(0)], 2, {"room": FULL}, "+new-0"),
        ("in place: one starts, the other stays", [old(0), BORN], 2, {"room": FULL}, ""),
        ("in place: it serves, the next leaves", [old(0), new(0)], 2, {"room": FULL}, "-old-0"),
        ("the place freed a moment ago is no room to surge", [old(0)], 2, {"room": Room(1, "")}, "+new-0"),
        ("nor while its successor has no node yet",
         [old(0), unschedulable(new(0), NOW - 1)], 2, {"room": Room(1, "")}, ""),
        ("surging: it starts, nothing leaves", [old(0), old(1), BORN], 2, {"room": FULL}, ""),
        ("surging: it serves, one leaves", [old(0), old(1), SERVES], 2, {}, "-old-1"),
        ("surging: it serves for a moment only", [old(0), old(1), FRESH], 2, {}, ""),
        ("surging: what drains counts", [old(0), SERVES, gone(1)], 2, {"room": FREE}, ""),
        ("what drains for ever on a lost node does not", [old(0), SERVES, LOST], 2, {"room": FREE}, "+new-1"),
        ("surge 2 of 3", [old(0), old(1), old(2)], 3, {"surge": 2}, "+new-0 +new-1"),
        ("unavailable 2 of 3", [old(0), old(1), old(2)], 3, {"surge": 0, "unavailable": 2}, "-old-1 -old-2"),
        ("neither is allowed: wait", [old(0), old(1)], 2, {"surge": 0, "unavailable": 0}, ""),
        ("the surge waits for a place: patience", [old(0), old(1), unschedulable(new(0), NOW - 30)], 2, {}, ""),
        ("no place for long: one leaves for it", [old(0), old(1), unschedulable(new(0), NOW - 90)], 2, {}, "-old-1"),
        ("no place, a single replica: wait", [old(0), unschedulable(new(0), NOW - 90)], 1, {}, ""),
        ("no place beyond the deadline: one leaves for it all the same",
         [old(0), old(1), unschedulable(new(0), NOW - 3000)], 2, {}, "-old-1"),
        ("no place, an outage is allowed: in place",
         [old(0), unschedulable(new(0), NOW - 3000)], 1, {"unavailable": 1}, "-old-0"),
        ("no place, surge 0, an outage is allowed: in place",
         [old(0), unschedulable(new(0), NOW - 3000)], 1, {"surge": 0, "unavailable": 1}, "-old-0"),
        ("gated, as by Kueue: as if there were no place",
         [old(0), old(1), unschedulable(new(0), NOW - 3000, "SchedulingGated")], 2, {}, "-old-1"),
        ("a quota refuses its pods: patience", [old(0), old(1), unmade(0, NOW - 30)], 2, {}, ""),
        ("a quota refuses its pods: one leaves for it", [old(0), old(1), unmade(0, NOW - 3000)], 2, {}, "-old-1"),
        ("no node suits the new template: nothing leaves for it", [old(0), old(1)], 2, {"room": UNSUITED}, ""),
        ("nor where it is allowed to", [old(0)], 1, {"room": UNSUITED, "surge": 0, "unavailable": 1}, ""),
        ("nor where the surge was tried", [old(0), old(1), PENDING], 2, {"room": UNSUITED}, ""),
        ("a surge that is asked for waits for its place", [old(0), old(1), PENDING], 2, {"surge": 1}, ""),
        ("a scale-up with the rollout", [old(0), old(1)], 4, {"room": FREE}, "+new-0 +new-1 +new-2"),
        ("a scale-down with the rollout", [old(0), old(1), old(2)], 1, {"room": FREE}, "-old-1 -old-2"),
        ("least loaded leaves", [old(0), old(1), SERVES], 2, {"loads": {"demo-old-0": 1, "demo-old-1": 2}}, "-old-0"),
        ("of equal loads the youngest", [group("old", 0, created=9.0), old(1), SERVES], 2, {"loads": {}}, "-old-0"),
    ],
)  # fmt: skip
def test_rollout(case, groups, replicas, how, expected):
    made = decide(groups, replicas, **how)
    assert sorted(steps(made, groups)) == sorted(expected.split()), case


@pytest.mark.parametrize(
    ("case", "groups", "replicas", "how", "expected"),
    [
        ("a rollout begins: room decides", [old(0)], 1, {}, {"room"}),
        ("it is known", [old(0)], 1, {"room": FULL}, set()),
        ("it surges already", [old(0), BORN], 1, {}, set()),
        ("surge is given", [old(0)], 1, {"surge": 1}, set()),
        ("an outage is allowed: whether it would help", [old(0)], 1, {"surge": 0, "unavailable": 1}, {"room"}),
        ("it found no place: whether another leaving would help", [old(0), old(1), PENDING], 2, {}, {"room", "loads"}),
        ("no rollout", [new(0)], 2, {}, set()),
        ("scale-down: loads decide between two", [new(0), new(1)], 1, {}, {"loads"}),
        ("one of them does not serve: they do not", [new(0, ready=False), new(1)], 1, {}, set()),
        ("all leave", [new(0), new(1)], 0, {}, set()),
        ("a rollout takes one of two", [old(0), old(1), SERVES], 2, {}, {"loads"}),
    ],
)
def test_what_a_plan_wants_to_know(case, groups, replicas, how, expected):
    assert decide(groups, replicas, **how).wants == expected, case


def test_a_group_on_a_lost_node_is_replaced_at_once():
    groups = [new(0), new(1)]
    groups[0].pods[0]["spec"]["nodeName"] = "node-2"
    made = decide(groups, 2, lost_nodes=frozenset({"node-2"}))
    assert steps(made, groups) == ["+new-2", "-new-0"]
    assert "demo-new-0: a node is lost" in made.decisions[2].message


def test_the_same_observation_gives_the_same_plan():
    groups = [new(1), new(0), old(0)]
    assert decide(groups, 2) == decide(groups[::-1], 2)


@pytest.mark.parametrize(
    ("groups", "replicas", "how", "state", "said"),
    [
        ([new(0)], 1, {}, "settled Settled", "1 of 1 replica of revision new serve"),
        ([BORN], 2, {}, "starting Starting", "0 of 2 replicas of revision new serve"),
        ([new(0), new(1)], 1, {}, "scaling ScalingDown",
         "1 of 1 replica of revision new serve; 1 other still to drain"),
        ([old(0), old(1)], 2, {"room": FREE}, "rolling RollingOut",
         "0 of 2 replicas of revision new serve; 2 older ones kept; surging by 1 (8 of 8 nvidia.com/gpu are free), "
         "none is taken out of service before its successor serves"),
        ([old(0), old(1)], 2, {"room": FULL}, "rolling RollingOut",
         "0 of 2 replicas of revision new serve; 1 older one kept, 1 draining; no room to surge (0 of 8 nvidia.com/gpu "
         "are free): 1 of 2 at a time is replaced in place"),
        ([old(0)], 1, {"room": FULL}, "waiting NoRoom",
         "0 of 1 replica of revision new serve; 1 older one kept, waiting for room: 0 of 8 nvidia.com/gpu are free; "
         "free accelerators, or set spec.rollout.unavailable: 1 to allow an outage"),
        ([old(0), unschedulable(new(0), NOW - 90)], 1, {}, "waiting NoRoom",
         "0 of 1 replica of revision new serve; 1 older one kept, waiting for room: Unschedulable: 0/3 nodes are "
         "available; free accelerators, or set spec.rollout.unavailable: 1 to allow an outage"),
        ([old(0), crashing(new(0, ready=False))], 1, {}, "paused Failing",
         "paused, nothing more is started or taken away: 0 of 1 replica of revision new serve, 1 older one kept; "
         "demo-new-0: pod demo-new-0-0: CrashLoopBackOff: back-off 40s; it last said: CUDA out of memory"),
        ([old(0), group("new", 0, ready=False, created=NOW - 2500)], 1, {}, "paused ProgressDeadlineExceeded",
         "paused, nothing more is started or taken away: 0 of 1 replica of revision new serve, 1 older one kept; "
         "demo-new-0: its pods do not serve 2400 s after they were due to start"),
    ],
)  # fmt: skip
def test_where_the_rollout_stands(groups, replicas, how, state, said):
    told = decide(groups, replicas, **how).rollout
    assert (f"{told.state} {told.reason}", told.message) == (state, said)


def test_a_restart_is_told_until_the_group_serves():
    noted = restarted(ANEW, 1, 1.0)
    said = "demo-new-7 ran and did not serve within its deadline: restart 1 of 5"
    for groups in ([group("new", 7, ready=False)], [noted]):
        decisions = {each.reason: each.message for each in decide(groups, 1).decisions}
        assert decisions["Restarting"] == said
    serving = restarted(group("new", 7, created=NOW - 100), 1, 1.0)
    assert "Restarting" not in {each.reason for each in decide([serving], 1).decisions}


def test_numbers_for_conditions():
    told = decide([old(0), old(1), SERVES, gone(7)], 3, room=FREE).rollout
    assert (told.replicas, told.new, told.new_ready, told.old, told.old_ready, told.draining) == (3, 1, 1, 2, 2, 1)
    assert (told.surge, told.unavailable) == (1, 0)


@pytest.mark.parametrize(
    ("case", "groups", "replicas", "how", "seconds"),
    [
        ("settled: nothing to wait for", [new(0)], 1, {}, None),
        ("no room: look again", [old(0)], 1, {"room": FULL}, 30),
        ("a pod that stopped serving may have lost its node", [blink(0), BORN], 1, {}, 55),
        ("a blink is judged when it is none any more", [stopped(old(0), NOW - 100), BORN], 1, {}, 260),
        ("a new group has until its restart", [BORN], 1, {}, 1300),
        ("routers are to hear of the new one first", [old(0), FRESH], 1, {}, 3),
        ("the scheduler has a minute", [old(0), unschedulable(new(0), NOW - 50)], 1, {}, 10),
    ],
)
def test_again(case, groups, replicas, how, seconds):
    assert decide(groups, replicas, **how).again_in == seconds, case
