"""The health script runs as in Argo CD (Lua 5.1) over statuses the operator writes."""

from typing import Any

import pytest
from helm import ROOT
from lupa import lua51
from make import deployment

from manta_operator.planning.autoscale import Scaling
from manta_operator.planning.conditions import Situation
from manta_operator.planning.fit import Fit
from manta_operator.planning.observe import Observed, ObservedGroup, ObservedPod
from manta_operator.planning.plan import Plan, Rollout, Trouble
from manta_operator.planning.problems import Failure, Problem
from manta_operator.planning.shape import Shape
from manta_operator.planning.status import status

SCRIPT = (ROOT / "argocd/health.lua").read_text()
NOW = "2026-01-01T00:00:00Z"
SETTLED = Rollout("settled", "Settled", "")
SERVES = ObservedGroup("demo-new-0", "uid", "new", 0, pods=1, ready_pods=1)
STARTS = ObservedGroup("demo-new-0", "uid", "new", 0, pods=1, ready_pods=0)
GATED = ObservedPod("demo-new-0-0", "demo-new-0", ready=False, problem="CrashLoopBackOff: GatedRepoError: 403")


def written(*, replicas: int = 1, groups=(SERVES,), rollout=SETTLED, problems=(), pods=(), troubles=(), **more) -> Any:
    """The object after a pass that found this."""
    made = Plan(Shape(1, 1, 1, "uni"), Fit("True", "it fits"), "new", (), (), (), rollout=rollout, troubles=troubles)
    observed = Observed(tuple(groups), tuple(pods), 1)
    found = Situation(replicas, 1, None if problems else made, tuple(problems), observed, **more)
    body = {"metadata": {"name": "demo", "generation": 1}, "spec": {"replicas": replicas}}
    return body | {"status": status(deployment(), found, {}, NOW)}


def health(body: dict[str, Any]) -> tuple[str, str]:
    lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    lua.globals().obj = lua.table_from(body, recursive=True)
    for library in ("io", "os", "package", "debug", "require"):
        lua.globals()[library] = None  # Argo CD gives none either
    result = lua.execute(SCRIPT)
    return result["status"], result["message"]


CASES = {
    "all serves": (written(), "Healthy", "AllServing: 1 replica and the router serve"),
    "starts": (
        written(groups=[STARTS], rollout=Rollout("starting", "Starting", "0 of 1 replicas serve")),
        "Progressing", "Starting: 0 of 1 replicas serve",
    ),
    "rolls out": (
        written(rollout=Rollout("rolling", "RollingOut", "1 of 2 replicas are new")),
        "Progressing", "RollingOut: 1 of 2",
    ),
    "waits for room": (
        written(rollout=Rollout("waiting", "NoRoom", "a replica needs 2 GPUs, 0 are free")),
        "Suspended", "NoRoom: a replica needs 2 GPUs",
    ),
    "paused by failures": (
        written(rollout=Rollout("paused", "ProgressDeadlineExceeded", "nothing new has served for 2400 s")),
        "Degraded", "ProgressDeadlineExceeded: nothing new",
    ),
    "restarts spent": (
        written(groups=[STARTS], troubles=(Trouble("demo-new-0", "does not serve", restarts=5, spent=True),)),
        "Degraded", "RestartsSpent: replica demo-new-0",
    ),
    "scaled to zero": (written(replicas=0, groups=[]), "Suspended", "ScaledToZero: 0 replicas"),
    "none, since nobody asks": (
        written(replicas=0, groups=[], scaling=Scaling({"replicas": 0}, 0, 4)), "Healthy", "ScaledToZero: 0 replicas",
    ),
    "the autoscaler adds one": (
        written(
            replicas=2, scaling=Scaling({"replicas": 2}, 1, 4), rollout=Rollout("starting", "Starting", "1 of 2 serve")
        ),
        "Healthy", "ScalingUp: 1 of 2 replicas",
    ),
    "not a valid spec": (
        written(problems=[Problem("spec.model.uri", "no such scheme", "use hf://")]),
        "Degraded", "InvalidSpec: spec.model.uri",
    ),
    "model not to be had": (written(groups=[STARTS], pods=[GATED]), "Degraded", "NotFetched: pod demo-new-0-0"),
    "name taken": (
        written(failures=(Failure("NotOwned", "Service default/demo belongs to somebody else"),)),
        "Degraded", "NotOwned: Service default/demo",
    ),
    "API server busy": (
        written(failures=(Failure("Transient", "apply Service default/demo: 429"),), next_try=NOW),
        "Progressing", "Transient: apply Service",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected", "said"), CASES.values(), ids=CASES)
def test_health(body: dict, expected: str, said: str) -> None:
    found, message = health(body)
    assert (found, message[: len(said)]) == (expected, said)


def test_new_objects_and_changes_not_seen_yet() -> None:
    assert health({"metadata": {"generation": 1}, "spec": {}}) == ("Progressing", "the operator has not seen it yet")
    assert health({"metadata": {"generation": 1}, "status": {}})[0] == "Progressing"
    changed = written()
    changed["metadata"]["generation"] = 2
    assert health(changed) == ("Progressing", "the operator has not seen the newest change yet")


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("Reconciled", "False", "Missing"),
        ("Reconciled", "False", "NamespaceTerminating"),
        ("Degraded", "True", "NodeLost"),
    ],
)
def test_what_passes_by_itself_is_not_degraded(kind: str, value: str, reason: str) -> None:
    body = written(groups=[STARTS], rollout=Rollout("starting", "Starting", "0 of 1 replicas serve"))
    kept = [each for each in body["status"]["conditions"] if each["type"] != kind]
    body["status"]["conditions"] = [*kept, {"type": kind, "status": value, "reason": reason, "message": "x"}]
    assert health(body)[0] == "Progressing"


@pytest.mark.parametrize("lacking", ["message", "reason"])
def test_a_condition_that_lacks_something_is_no_error(lacking: str) -> None:
    body = written(problems=[Problem("spec.model.uri", "no such scheme", "use hf://")])
    for condition in body["status"]["conditions"]:
        del condition[lacking]
    assert health(body)[0] == "Degraded"


def test_what_is_started_although_it_is_not_expected_to_fit_is_on_its_way() -> None:
    body = written()
    for condition in body["status"]["conditions"]:
        if condition["type"] == "Planned":
            condition |= {"status": "False", "reason": "WarnedOnly", "message": "it is started all the same"}
    assert health(body)[0] != "Degraded"
    body["status"]["conditions"][0]["reason"] = "DoesNotFit"
    assert health(body) == ("Degraded", "DoesNotFit: it is started all the same")


def test_deletion() -> None:
    body = written()
    body["metadata"]["deletionTimestamp"] = NOW
    assert health(body) == ("Progressing", "it is being deleted: replicas drain")


def test_a_status_of_an_older_operator_is_no_error() -> None:
    body = written()
    body["status"]["conditions"] = [{"type": "Planned", "status": "True", "reason": "Planned", "message": "x"}]
    assert health(body) == ("Progressing", "the operator has not judged it yet")
