"""Events: which transitions between two statuses are told, and that each is told once."""

import pytest

from manta_operator.planning.events import Event, events

NOW = 1_000_000.0


def status(revision="a", decisions=(), generation=1, **conditions):
    """A status; keywords are conditions as (status, reason, message)."""
    return {
        "revision": revision,
        "decisions": [{"reason": reason, "message": message} for reason, message in decisions],
        "conditions": [
            {"type": kind, "status": truth, "reason": reason, "message": text, "observedGeneration": generation}
            for kind, (truth, reason, text) in conditions.items()
        ],
    }


SOUND = {"Degraded": ("False", "Sound", "")}
SPENT = {"Degraded": ("True", "RestartsSpent", "replica a: 5 restarts")}
SERVING = {"Available": ("True", "Serving", "1 replica serves")}
DOWN = {"Available": ("False", "NotServing", "no replica serves")}
ZERO = {"Available": ("False", "ScaledToZero", "0 replicas are asked for")}
INVALID = {"Planned": ("False", "InvalidSpec", "spec.x: is wrong")}
WRITTEN = {"Reconciled": ("True", "Written", "all is written")}
BUSY = {"Reconciled": ("False", "Transient", "429")}
TAKEN = {"Reconciled": ("False", "NotOwned", "Service demo is somebody else's")}
ROLLING = {"Progressing": ("True", "RollingOut", "1 of 2")}
NO_ROOM = {"Progressing": ("False", "NoRoom", "needs 2 GPUs")}
SETTLED = {"Progressing": ("False", "Settled", "2 of 2 serve")}
STARTING = {"Progressing": ("True", "Starting", "0 of 2")}
PAUSED = {
    "Progressing": ("False", "ProgressDeadlineExceeded", "2400 s"),
    "Degraded": ("True", "ProgressDeadlineExceeded", "2400 s"),
}
FETCHING = {"ModelAvailable": ("Unknown", "Fetching", "1 of 3 GiB")}
UNFETCHED = {"ModelAvailable": ("False", "NotFetched", "pod a: 404")}
RESTART = [("Restarting", "replica a is restarted: 2 of 5")]

CASES = {
    "new and starting": ({}, status(**SOUND, **STARTING, **WRITTEN, **DOWN), []),
    "fetches": ({}, status(**FETCHING), []),
    "fetches on": (status(**FETCHING), status(ModelAvailable=("Unknown", "Fetching", "2 of 3 GiB")), []),
    "cannot fetch": (status(**FETCHING), status(**UNFETCHED), ["Warning NotFetched: pod a: 404"]),
    "serves for the first time": (status(**DOWN), status(**SERVING), ["Normal Serving: 1 replica serves"]),
    "serves no more": (status(**SERVING), status(**DOWN), ["Warning NotServing: no replica serves"]),
    "scaled to zero": (status(**SERVING), status(**ZERO), ["Normal ScaledToZero: 0 replicas are asked for"]),
    "started at zero": ({}, status(**ZERO), []),
    "a wrong spec": ({}, status(**INVALID), ["Warning InvalidSpec: spec.x: is wrong"]),
    "a wrong spec, another way": (
        status(**INVALID),
        status(generation=2, Planned=("False", "InvalidSpec", "spec.y: is wrong")),
        ["Warning InvalidSpec: spec.y: is wrong"],
    ),
    "a wrong spec, changed elsewhere": (status(**INVALID), status(generation=2, **INVALID), []),
    "degraded": (status(**SOUND), status(**SPENT), ["Warning RestartsSpent: replica a: 5 restarts"]),
    "degraded in other words": (status(**SPENT), status(Degraded=("True", "RestartsSpent", "still")), []),
    "recovered": (
        status(**SPENT),
        status(Degraded=("False", "Sound", "nothing is broken")),
        ["Normal Recovered: nothing is broken"],
    ),
    "a name is taken": (
        status(**WRITTEN),
        status(**TAKEN),
        ["Warning NotOwned: Service demo is somebody else's"],
    ),
    "a name is still taken, and tried at another time": (
        status(**TAKEN),
        status(generation=2, Reconciled=("False", "NotOwned", "Service demo is somebody else's; next try later")),
        [],
    ),
    "busy, and taken": (status(**BUSY), status(**TAKEN), ["Warning NotOwned: Service demo is somebody else's"]),
    "busy": (status(**WRITTEN), status(**BUSY), []),
    "busy no more": (status(**BUSY), status(**WRITTEN), []),
    "free again": (status(**TAKEN), status(**WRITTEN), ["Normal Reconciled: all is written"]),
    "cannot be planned any more": (status(**TAKEN), status(Reconciled=("Unknown", "NotPlanned", "-")), []),
    "no CRD": (
        status(),
        status(Integrated=("False", "CRDMissing", "no PodMonitor")),
        ["Warning CRDMissing: no PodMonitor"],
    ),
    "a new revision": (
        status(**SETTLED),
        status("b", **ROLLING),
        ["Normal RollingOut: revision b takes the place of a"],
    ),
    "the first revision": (status(None, **STARTING), status("a", **STARTING), []),
    "rolled out": (
        status("b", **ROLLING),
        status("b", **SETTLED),
        ["Normal Settled: 2 of 2 serve"],
    ),
    "started": (status(**STARTING), status(**SETTLED), ["Normal Settled: 2 of 2 serve"]),
    "settled from the beginning": ({}, status(**SETTLED), []),
    "no room": (status(**ROLLING), status(**NO_ROOM), ["Warning NoRoom: needs 2 GPUs"]),
    "no room still": (status(**NO_ROOM), status(Progressing=("False", "NoRoom", "needs 1 GPU")), []),
    "paused": (
        status(**ROLLING, **SOUND),
        status(**PAUSED),
        ["Warning ProgressDeadlineExceeded: 2400 s"],
    ),
    "a restart": (status(), status(decisions=RESTART), ["Warning Restarting: replica a is restarted: 2 of 5"]),
    "a restart, still in the status": (status(decisions=RESTART), status(decisions=RESTART), []),
    "decisions that stand in the status anyway": (status(), status(decisions=[("Shaped", "one pod")]), []),
}


@pytest.mark.parametrize(("before", "after", "expected"), CASES.values(), ids=CASES)
def test_events(before, after, expected):
    assert [f"{event.type} {event.reason}: {event.message}" for event in events(before, after, NOW)] == expected


@pytest.mark.parametrize("after", [after for _, after, _ in CASES.values()], ids=CASES)
def test_a_status_that_stands_already_tells_nothing(after):
    assert events(after, after, NOW) == ()


def adapters(generation=1, **messages):
    """A status in which these adapters fail, and one more is loaded."""
    rows = {name: [{"replica": 0, "pod": "p-0", "state": "Failed", "message": text}] for name, text in messages.items()}
    rows |= {"fine": [{"replica": 0, "pod": "p-0", "state": "Loaded"}]}
    said = {"AdaptersLoaded": ("False", "AdapterFailed", "sql is Failed") if messages else ("False", "Loading", "")}
    listed = [{"name": name, "loaded": 0, "replicas": each} for name, each in rows.items()]
    return status(generation=generation, **said) | {"adapters": listed}


@pytest.mark.parametrize(
    ("case", "before", "after", "expected"),
    [
        ("the first", adapters(), adapters(sql="no file", chat="rank"), ["sql is Failed"]),
        ("a second one", adapters(sql="no file"), adapters(sql="no file", chat="rank 64"),
         ["chat is Failed on pod p-0: rank 64"]),
        ("another one instead", adapters(sql="no file"), adapters(chat=""), ["chat is Failed on pod p-0"]),
        ("the same in other words", adapters(sql="no file"), adapters(sql="HTTP 503"), []),
        ("a new one of that name", adapters(sql="no file"), adapters(2, sql="rank 64"),
         ["sql is Failed on pod p-0: rank 64"]),
        ("one of two is mended", adapters(sql="no file", chat="rank"), adapters(2, sql="no file"), []),
        ("many", adapters(sql=""), adapters(sql="", a="", b="", c="", d="", e=""),
         ["a is Failed on pod p-0; b is Failed on pod p-0; c is Failed on pod p-0; and 2 more"]),
    ],
)  # fmt: skip
def test_each_adapter_that_fails_is_told_once(case, before, after, expected):
    assert [event.message for event in events(before, after, NOW)] == expected, case
    assert {event.reason for event in events(before, after, NOW)} <= {"AdapterFailed"}
    assert events(after, after, NOW) == ()


def test_events_come_in_the_order_of_what_matters():
    told = events(status(**SOUND, **SERVING), status("b", **SPENT, **DOWN, **ROLLING), NOW)
    assert [event.reason for event in told] == ["RestartsSpent", "NotServing", "RollingOut"]
    assert told[0] == Event("Warning", "RestartsSpent", "replica a: 5 restarts")


def change(seconds, old, new, message=""):
    return {"time": f"2026-01-01T00:00:{seconds:02}Z", "fromReplicas": old, "toReplicas": new, "message": message}


def scaled(*changes, **conditions):
    return status(**conditions) | {"autoscaling": {"replicas": 1, "changes": list(changes)}}


UP, DOWN_TO_ZERO, WAKE = change(1, 1, 4, "from 1 to 4 replicas"), change(2, 4, 0), change(3, 0, 1)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (status(), scaled(), []),
        (scaled(), scaled(UP), [("ScaledUp", "from 1 to 4 replicas")]),
        (scaled(UP), scaled(UP), []),
        (scaled(UP), scaled(change(2, 4, 3), UP), [("ScaledDown", "from 4 to 3 replicas")]),
        (
            scaled(UP),
            scaled(WAKE, DOWN_TO_ZERO, UP),
            [("ScaledToZero", "from 4 to 0 replicas"), ("Woken", "from 0 to 1 replicas")],
        ),
        (scaled(UP), scaled(DOWN_TO_ZERO, UP, **ZERO) | {}, [("ScaledToZero", "from 4 to 0 replicas")]),
        (scaled(DOWN_TO_ZERO, **SERVING), scaled(DOWN_TO_ZERO, **ZERO), []),
        (scaled(UP), status(), []),
    ],
    ids=["begun", "up", "told already", "down", "two at once", "to zero", "the last is gone", "turned off"],
)
def test_each_change_of_the_autoscaler_is_told_once(before, after, told):
    assert [(each.type, each.reason, each.message) for each in events(before, after, NOW)] == [
        ("Normal", reason, message) for reason, message in told
    ]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (scaled(UP, **STARTING), scaled(UP, **SETTLED), False),
        (scaled(UP, **ROLLING), scaled(UP, **SETTLED), True),
        (scaled(**STARTING), scaled(**SETTLED), True),
        (status(**STARTING), status(**SETTLED), True),
    ],
    ids=["it has scaled", "a rollout", "the first start", "without an autoscaler"],
)
def test_what_the_autoscaler_added_settles_in_silence(before, after, told):
    assert [each.reason for each in events(before, after, NOW)] == ["Settled"] * told


def test_a_second_owner_is_a_warning():
    then = scaled(Autoscaled=("True", "Following", ""))
    now = scaled(Autoscaled=("False", "SecondOwner", "an HPA"))
    assert events(then, now, NOW) == (Event("Warning", "SecondOwner", "an HPA"),)
    assert events(now, now, NOW) == ()
