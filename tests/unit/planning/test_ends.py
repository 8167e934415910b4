"""How the end of an engine is told: which pod's of a group, in whose words, and once."""

from dataclasses import replace

import pytest

from manta_operator.cli.picture import _pod as pod_of
from manta_operator.planning.conditions import Situation, conditions
from manta_operator.planning.ends import SETTLED_SECONDS, TOGETHER_SECONDS, describe, ended, ends
from manta_operator.planning.events import RECENT_SECONDS, events
from manta_operator.planning.fit import Fit
from manta_operator.planning.observe_pods import engine_end, observe_pod, slim_pod
from manta_operator.planning.observed import EngineEnd, Observed, ObservedGroup, ObservedPod
from manta_operator.planning.plan import Plan, Rollout
from manta_operator.planning.shape import Shape

NOW = 1_000_000.0
HEAD = EngineEnd(NOW - 5, 10, "Error", "vLLM has 3 unanswered requests: it hangs")
WORKER = EngineEnd(NOW - 4, 11, "Error", "the head ended: vLLM has 3 unanswered requests: it hangs")


def group(*found):
    pods = tuple(ObservedPod(f"demo-a-0-{rank}", "demo-a-0", False, None, end=end) for rank, end in enumerate(found))
    return ObservedGroup("demo-a-0", "u", "a", 0, pods=len(found), ready_pods=0, members=pods)


def told(made, now=NOW):
    return [(entry["pod"], entry["exitCode"]) for entry in ends([made], now)]


@pytest.mark.parametrize(
    ("made", "now", "expected"),
    [
        pytest.param(group(None, None), NOW, [], id="none has ended"),
        pytest.param(group(HEAD, WORKER), NOW, [("demo-a-0-0", 10)], id="the head had the cause"),
        pytest.param(
            group(replace(HEAD, code=11), replace(WORKER, at=NOW - 9, code=12)),
            NOW,
            [("demo-a-0-1", 12)],
            id="the worker had the cause",
        ),
        pytest.param(group(None, WORKER), NOW, [], id="only who went with it: wait for the others"),
        pytest.param(
            group(None, WORKER), WORKER.at + SETTLED_SECONDS, [("demo-a-0-1", 11)], id="the others say nothing"
        ),
        pytest.param(
            group(HEAD, replace(WORKER, at=HEAD.at + TOGETHER_SECONDS + 1)),
            NOW + 2 * TOGETHER_SECONDS,
            [("demo-a-0-1", 11)],
            id="of an earlier time",
        ),
        pytest.param(group(replace(HEAD, code=0), WORKER), NOW + TOGETHER_SECONDS, [], id="stopped in order"),
        pytest.param(
            group(replace(HEAD, code=0), replace(WORKER, code=1)),
            NOW,
            [("demo-a-0-1", 1)],
            id="it failed as it stopped",
        ),
        pytest.param(group(replace(HEAD, code=137, said="")), NOW, [("demo-a-0-0", 137)], id="killed"),
    ],
)
def test_one_end_of_a_group_is_told(made, now, expected):
    assert told(made, now) == expected


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (HEAD, "vLLM has 3 unanswered requests: it hangs"),
        (replace(HEAD, said="", reason="OOMKilled", code=137), "OOMKilled"),
        (replace(HEAD, said="INFO GET /health 200 OK", code=137), "killed (SIGKILL), and could not say why"),
        (replace(HEAD, said="vLLM ended by itself with code 137", code=137), "vLLM ended by itself with code 137"),
        (replace(HEAD, said="", code=77), "it said nothing"),
    ],
)
def test_in_its_own_words_or_the_kubelets(end, words):
    assert describe(end) == words


def test_an_end_is_an_event_once():
    after = {"engineEnds": ends([group(HEAD, WORKER)], NOW)}
    [event] = events({}, after, NOW)
    assert (event.type, event.reason) == ("Warning", "EngineEnded")
    assert event.message == (
        "replica demo-a-0, pod demo-a-0-0: its engine ended with code 10: vLLM has 3 unanswered requests: it hangs"
    )
    assert events(after, after, NOW) == ()
    again = {"engineEnds": ends([group(replace(HEAD, at=NOW), WORKER)], NOW)}
    assert len(events(after, again, NOW)) == 1


def test_an_end_of_which_an_operator_hears_late_is_no_event():
    after = {"engineEnds": ends([group(replace(HEAD, at=NOW - RECENT_SECONDS))], NOW)}
    assert len(after["engineEnds"]) == 1, "but it stands in the status"
    assert events({}, after, NOW) == ()
    assert len(events({}, after, NOW - 1)) == 1


def test_it_is_said_while_the_pod_is_not_back():
    [pod] = group(HEAD).members
    words = "pod demo-a-0-0 starts again, its engine ended with code 10: vLLM has 3 unanswered requests: it hangs"
    assert ended(pod) == words
    assert ended(replace(pod, ready=True)) == ""
    assert ended(replace(pod, problem="CrashLoopBackOff: back-off")) == "", "that says it already"
    assert ended(replace(pod, end=None)) == ""


TERMINATED = {"exitCode": 10, "reason": "Error", "finishedAt": "2026-11-21T17:00:00Z", "message": "it hangs\n"}


@pytest.mark.parametrize("moment", ["state", "lastState"])
def test_the_end_is_read_of_whole_and_of_slim_pods(moment):
    status = {"containerStatuses": [{"name": "engine", "restartCount": 2, moment: {"terminated": TERMINATED}}]}
    end = engine_end(status)
    assert end is not None
    assert (end.code, end.reason, end.said) == (10, "Error", "it hangs")
    body = {"metadata": {"name": "demo-a-0-0"}, "spec": {"nodeName": "n"}, "status": status}
    assert observe_pod({**body, **slim_pod(body)}, NOW, frozenset()) == observe_pod(body, NOW, frozenset())


def test_other_containers_and_first_runs_have_no_end():
    running = {"name": "engine", "restartCount": 0, "state": {"running": {"startedAt": "2026-11-21T17:00:00Z"}}}
    beside = {"name": "adapters", "restartCount": 1, "lastState": {"terminated": TERMINATED}}
    assert engine_end({"containerStatuses": [beside, running]}) is None
    assert engine_end({}) is None


def test_conditions_and_the_picture_say_it_while_the_pod_is_not_back():
    words = "its engine ended with code 10: vLLM has 3 unanswered requests: it hangs"
    plan = Plan(
        Shape(1, 1, 1, "uni"), Fit("True", ""), "a", (), (), (), rollout=Rollout("starting", "Starting", "0 of 1")
    )
    judged = conditions(Situation(1, 1, plan, (), Observed(pods=group(HEAD).members)))
    for kind in ("Progressing", "Available", "Ready"):
        assert words in next(each.message for each in judged if each.type == kind), kind
    unready = [{"type": "Ready", "status": "False"}]
    ended_before = [{"name": "engine", "restartCount": 1, "lastState": {"terminated": TERMINATED}}]
    shown = pod_of({"metadata": {"name": "p"}, "status": {"conditions": unready, "containerStatuses": ended_before}})
    assert shown.problem == "starts again, its engine ended with code 10: it hangs"
    ready = [{"type": "Ready", "status": "True"}]
    shown = pod_of({"metadata": {"name": "p"}, "status": {"conditions": ready, "containerStatuses": ended_before}})
    assert shown.problem == ""
