"""The conditions: what each situation is called, and when a transition time moves."""

from dataclasses import replace

import pytest

from manta_operator.planning.conditions import MESSAGE_LIMIT, Condition, Situation, conditions, merge
from manta_operator.planning.fit import Fit
from manta_operator.planning.integrations import INFERENCE_POOL, POD_MONITOR, Integration, absent
from manta_operator.planning.observe import Observed, ObservedGroup, ObservedPod
from manta_operator.planning.plan import Plan, Rollout, Trouble
from manta_operator.planning.problems import Failure, Problem
from manta_operator.planning.shape import Shape

SHAPE = Shape(1, 1, 1, "uni")
SETTLED = Rollout("settled", "Settled", "")
STARTING = Rollout("starting", "Starting", "0 of 1 replicas of revision new serve")
ROLLING = Rollout("rolling", "RollingOut", "1 of 2 replicas of revision new serve")
NO_ROOM = Rollout("waiting", "NoRoom", "a replica needs 2 GPUs, 0 are free")
PAUSED = Rollout("paused", "ProgressDeadlineExceeded", "no new replica has served for 2400 s")


def situation(*, replicas=1, groups=(), pods=(), routers=1, problems=(), rollout=SETTLED, troubles=(), **more):
    observed = Observed(tuple(groups), tuple(pods), routers)
    made = Plan(SHAPE, Fit("True", "it fits"), "new", (), (), (), rollout=rollout, troubles=troubles)
    return Situation(replicas, 1, None if problems else made, tuple(problems), observed, **more)


def pod(name="demo-new-0-0", problem=None, **more) -> ObservedPod:
    return ObservedPod(name, name[:-2], ready=False, problem=problem, **more)


def judged(given: Situation) -> dict[str, str]:
    """Type to status and reason."""
    return {entry.type: f"{entry.status} {entry.reason}" for entry in conditions(given)}


def message(kind: str, given: Situation) -> str:
    return next(entry.message for entry in conditions(given) if entry.type == kind)


def group(revision="new", ready=1, index=0) -> ObservedGroup:
    return ObservedGroup(f"demo-{revision}-{index}", "uid", revision, index, pods=1, ready_pods=ready)


NEW, BORN, OLD = group(), group(ready=0), group("old")
STRANDED = replace(BORN, members=(pod(node="n1", lost=True),))
FORBIDDEN = Failure("Forbidden", "apply Service default/demo: no")
TAKEN = Failure("NotOwned", "Service default/demo belongs to somebody else")
BUSY = Failure("Transient", "apply Service default/demo: 429 too many requests")
SPENT = Trouble("demo-new-0", "does not serve 1800 s after its start", restarts=5, spent=True)
UNFETCHED = "CrashLoopBackOff: back-off 10s restarting failed container=fetch pod=a; it last said: no such model"
GATED = "CrashLoopBackOff: back-off 10s; it last said: GatedRepoError: 403 Client Error"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            situation(groups=[NEW]),
            {
                "Planned": "True Planned",
                "ModelAvailable": "True Serving",
                "Reconciled": "True Written",
                "Progressing": "False Settled",
                "Available": "True Serving",
                "Degraded": "False Sound",
                "Ready": "True AllServing",
            },
            id="all serves",
        ),
        pytest.param(
            situation(groups=[BORN], rollout=STARTING),
            {
                "Planned": "True Planned",
                "ModelAvailable": "Unknown NotSeen",
                "Reconciled": "True Written",
                "Progressing": "True Starting",
                "Available": "False NotServing",
                "Degraded": "False Sound",
                "Ready": "False Starting",
            },
            id="starting",
        ),
        pytest.param(
            situation(problems=[Problem("spec.x", "is wrong", "mend it")]),
            {
                "Planned": "False InvalidSpec",
                "ModelAvailable": "Unknown NotSeen",
                "Reconciled": "Unknown NotPlanned",
                "Progressing": "False NotPlanned",
                "Available": "False NotServing",
                "Degraded": "False Sound",
                "Ready": "False InvalidSpec",
            },
            id="cannot be planned",
        ),
    ],
)
def test_all_conditions(given, expected):
    assert judged(given) == expected


@pytest.mark.parametrize(
    ("case", "given", "expected"),
    [
        ("fetching", situation(groups=[BORN], pods=[pod(fetching=True)]), "ModelAvailable: Unknown Fetching"),
        (
            "fetching is why it is not ready",
            situation(groups=[BORN], pods=[pod(fetching=True)]),
            "Ready: False Fetching",
        ),
        (
            "another fetches, one serves",
            situation(groups=[NEW], pods=[pod(fetching=True)]),
            "ModelAvailable: True Serving",
        ),
        (
            "fetching for too long",
            situation(groups=[BORN], pods=[pod(fetching=True)], rollout=PAUSED),
            "Ready: False ProgressDeadlineExceeded",
        ),
        (
            "one fetches, another cannot",
            situation(groups=[BORN], pods=[pod(fetching=True), pod(problem=UNFETCHED)]),
            "ModelAvailable: False NotFetched",
        ),
        ("rolling out", situation(groups=[OLD, BORN], rollout=ROLLING), "Progressing: True RollingOut"),
        ("rolling out, the old one serves", situation(groups=[OLD, BORN], rollout=ROLLING), "Available: True Serving"),
        ("rolling out is not ready", situation(groups=[OLD, BORN], rollout=ROLLING), "Ready: False RollingOut"),
        ("waiting for room", situation(groups=[OLD], rollout=NO_ROOM), "Progressing: False NoRoom"),
        ("waiting is not broken", situation(groups=[OLD], rollout=NO_ROOM), "Degraded: False Sound"),
        ("paused", situation(groups=[OLD], rollout=PAUSED), "Progressing: False ProgressDeadlineExceeded"),
        ("paused is broken", situation(groups=[OLD], rollout=PAUSED), "Degraded: True ProgressDeadlineExceeded"),
        (
            "late for the first time",
            situation(groups=[BORN], rollout=replace(PAUSED, state="starting")),
            "Degraded: True ProgressDeadlineExceeded",
        ),
        (
            "late is no progress",
            situation(groups=[BORN], rollout=replace(PAUSED, state="starting")),
            "Progressing: False ProgressDeadlineExceeded",
        ),
        (
            "failing for the first time",
            situation(groups=[BORN], rollout=replace(STARTING, reason="Failing")),
            "Progressing: True Failing",
        ),
        ("restarts spent", situation(groups=[BORN], troubles=(SPENT,)), "Degraded: True RestartsSpent"),
        (
            "restarts left",
            situation(groups=[BORN], troubles=(replace(SPENT, spent=False),), rollout=STARTING),
            "Degraded: False Sound",
        ),
        ("a lost node", situation(groups=[STRANDED]), "Degraded: True NodeLost"),
        (
            "a lost node, and its replica is replaced",
            situation(groups=[NEW], pods=[pod(node="n1", lost=True)]),
            "Ready: True AllServing",
        ),
        ("refused", situation(groups=[NEW], failures=(FORBIDDEN,)), "Reconciled: False Forbidden"),
        ("refused is not ready", situation(groups=[NEW], failures=(FORBIDDEN,)), "Ready: False Forbidden"),
        ("refused, and clients are served", situation(groups=[NEW], failures=(FORBIDDEN,)), "Available: True Serving"),
        ("the worst first", situation(groups=[NEW], failures=(BUSY, FORBIDDEN, TAKEN)), "Reconciled: False NotOwned"),
        ("the checkpoint was read", situation(groups=[BORN], model_read=True), "ModelAvailable: True Read"),
        ("the checkpoint is broken", situation(model_error="no layers"), "ModelAvailable: False Unreadable"),
        ("not to be fetched", situation(groups=[BORN], pods=[pod(problem=GATED)]), "ModelAvailable: False NotFetched"),
        (
            "not to be fetched is the cause",
            situation(groups=[BORN], pods=[pod(problem=GATED)], rollout=STARTING),
            "Ready: False NotFetched",
        ),
        (
            "one serves, one cannot fetch",
            situation(groups=[NEW], pods=[pod(problem=GATED)]),
            "ModelAvailable: True Serving",
        ),
        (
            "an older revision is no witness",
            situation(groups=[OLD], rollout=ROLLING),
            "ModelAvailable: Unknown NotSeen",
        ),
        ("no router", situation(groups=[NEW], routers=0), "Available: False NotServing"),
        ("no router is not ready", situation(groups=[NEW], routers=0), "Ready: False RouterNotReady"),
        ("at zero", situation(replicas=0), "Available: False ScaledToZero"),
        ("at zero all is done", situation(replicas=0), "Ready: True ScaledToZero"),
        (
            "integrated",
            situation(groups=[NEW], integrations=(Integration("PodMonitor"),)),
            "Integrated: True Written",
        ),
        (
            "no CRD",
            situation(groups=[NEW], integrations=(Integration("HTTPRoute"), absent(POD_MONITOR))),
            "Integrated: False CRDMissing",
        ),
        (
            "no CRD stops nothing",
            situation(groups=[NEW], integrations=(absent(POD_MONITOR),)),
            "Ready: True AllServing",
        ),
        (
            "but nobody finds routers without their pool",
            situation(groups=[NEW], integrations=(absent(INFERENCE_POOL),)),
            "Ready: False CRDMissing",
        ),
        (
            "routers of another mode are not those that were asked for",
            situation(groups=[NEW], router="demo-epp"),
            "Ready: False RouterNotReady",
        ),
    ],
)
def test_condition(case, given, expected):
    kind, _, expected_value = expected.partition(": ")
    assert judged(given)[kind] == expected_value, case


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (
            "Reconciled",
            situation(failures=(BUSY, TAKEN), next_try="2026-11-21T08:00:00Z"),
            "Service default/demo belongs to somebody else; apply Service default/demo: 429 too many requests; "
            "next try at 2026-11-21T08:00:00Z",
        ),
        ("Reconciled", situation(failures=(BUSY,) * 5), "; and 2 more"),
        (
            "Degraded",
            situation(groups=[BORN], troubles=(SPENT,)),
            "replica demo-new-0: does not serve 1800 s after its start; mend the cause; to try again, "
            "delete StatefulSet demo-new-0 or change the spec",
        ),
        ("Degraded", situation(groups=[OLD], rollout=PAUSED), "roll back by applying the former spec"),
        ("Degraded", situation(groups=[STRANDED]), "pod demo-new-0-0 is on node n1, which is lost"),
        (
            "Ready",
            situation(groups=[NEW], router="demo-epp"),
            "0 of 1 routers serve; 1 router of the other spec.router.mode will go when all of them do",
        ),
        ("Integrated", situation(integrations=(absent(POD_MONITOR),)), "install the CRDs of the Prometheus operator"),
        ("ModelAvailable", situation(pods=[pod(problem=GATED)]), "GatedRepoError: 403 Client Error; check spec.model"),
        (
            "ModelAvailable",
            situation(pods=[pod(problem=f"{UNFETCHED}; it last said: Error: No such command 'fetch'.")]),
            "'fetch'.; spec.engine.image is older than the operator",
        ),
        ("Progressing", situation(groups=[BORN], rollout=NO_ROOM), "a replica needs 2 GPUs, 0 are free"),
        ("Progressing", situation(pods=[pod(problem=GATED)], rollout=STARTING), "serve; pod demo-new-0-0: CrashLoop"),
        ("Available", situation(pods=[pod(problem=GATED)]), "no replica serves; pod demo-new-0-0: CrashLoop"),
    ],
)
def test_messages_have_the_cause_and_what_to_do(kind, given, words):
    assert words in message(kind, given)


def test_a_pod_is_not_quoted_twice():
    rollout = replace(STARTING, message=f"0 of 1 serve; demo-new-0: pod demo-new-0-0: {GATED}")
    assert message("Progressing", situation(pods=[pod(problem=GATED)], rollout=rollout)) == rollout.message


def test_messages_are_bounded():
    judged_now = conditions(situation(problems=[Problem("spec.x", "x" * 100_000, "mend it")]))
    assert max(len(entry["message"]) for entry in merge(judged_now, [], 1, "t")) == MESSAGE_LIMIT


def test_nothing_is_said_about_integrations_nobody_asked_for():
    assert "Integrated" not in judged(situation(groups=[NEW]))


def test_the_transition_time_moves_with_the_status_alone():
    first = merge([Condition("Ready", "False", "Starting", "0 of 1")], [], 1, "t1")
    same = merge([Condition("Ready", "False", "Starting", "0 of 1, still")], first, 2, "t2")
    turned = merge([Condition("Ready", "True", "AllServing", "1 of 1")], same, 2, "t3")
    assert [entry[0]["lastTransitionTime"] for entry in (first, same, turned)] == ["t1", "t1", "t3"]
    assert same[0]["message"] == "0 of 1, still"
    assert same[0]["observedGeneration"] == 2


@pytest.mark.parametrize(
    ("replicas", "words"), [(1, "1 replica and the router serve"), (2, "all 2 replicas and the router serve")]
)
def test_the_message_of_ready_counts_in_english(replicas, words):
    groups = [group(index=index) for index in range(replicas)]
    assert conditions(situation(replicas=replicas, groups=groups))[-1].message == words


@pytest.mark.parametrize(
    ("container", "words"),
    [("fetch", "check spec.model.uri"), ("fetch-draft", "check spec.engine.speculative.model")],
)
def test_which_weights_cannot_be_fetched(container, words):
    problem = f"CrashLoopBackOff: back-off 10s restarting failed container={container} pod=demo-new-0-0"
    assert words in message("ModelAvailable", situation(groups=[BORN], pods=[pod(problem=problem)]))
