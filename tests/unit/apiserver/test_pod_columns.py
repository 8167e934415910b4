"""A pod in one line, as kubectl words it."""

from datetime import UTC, datetime, timedelta

import pytest

from manta_operator.box.apiserver import tables
from manta_operator.box.apiserver.resources import Registry

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
POD = Registry().named("Pod")


def before(**ago):
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(obj, *, wide=False):
    """Column → cell of the one row, in kubectl's order."""
    answer = tables.table(POD, [obj], {"resourceVersion": "7"}, NOW)
    pairs = zip(answer["columnDefinitions"], answer["rows"][0]["cells"], strict=True)
    return {column["name"]: cell for column, cell in pairs if wide or not column["priority"]}


def pod(*statuses, init=(), phase="Running", spec=None, deleted=False, **status):
    """Build a pod with one container a status, and one init container a status of `init`."""
    names = [{"name": f"c{index}"} for index, _ in enumerate(statuses)]
    init_names = [{"name": f"i{index}"} | one.pop("spec", {}) for index, one in enumerate(init)]
    metadata = {"name": "x", "creationTimestamp": before(seconds=45)}
    return {
        "metadata": metadata | ({"deletionTimestamp": before(seconds=1)} if deleted else {}),
        "spec": {"containers": names, "initContainers": init_names} | (spec or {}),
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": f"c{i}", "restartCount": 0} | one for i, one in enumerate(statuses)],
            "initContainerStatuses": [{"name": f"i{i}", "restartCount": 0} | one for i, one in enumerate(init)],
        }
        | status,
    }


def running(**more):
    return {"ready": True, "state": {"running": {}}} | more


def waiting(reason, **more):
    return {"ready": False, "state": {"waiting": {"reason": reason}}} | more


def ended(code, reason=None, **more):
    return {"ready": False, "state": {"terminated": {"exitCode": code, "reason": reason}}} | more


READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]
SIDECAR = {"spec": {"restartPolicy": "Always"}}


@pytest.mark.parametrize(
    ("obj", "ready", "status"),
    [
        pytest.param(pod(running(), conditions=READY), "1/1", "Running", id="running"),
        pytest.param(pod(running(), running(ready=False)), "1/2", "Running", id="one of two ready"),
        pytest.param(pod(phase="Pending", spec={"containers": [{"name": "c"}]}), "0/1", "Pending", id="no statuses"),
        pytest.param(pod(waiting("ContainerCreating"), phase="Pending"), "0/1", "ContainerCreating", id="creating"),
        pytest.param(pod(waiting("CrashLoopBackOff")), "0/1", "CrashLoopBackOff", id="crash loop"),
        pytest.param(pod(waiting("CrashLoopBackOff"), running()), "1/2", "CrashLoopBackOff", id="one of two crashes"),
        pytest.param(pod(ended(0, "Completed"), phase="Succeeded"), "0/1", "Completed", id="completed"),
        pytest.param(pod(ended(1, "Error"), phase="Failed"), "0/1", "Error", id="error"),
        pytest.param(pod(ended(3)), "0/1", "ExitCode:3", id="exit code without reason"),
        pytest.param(pod({"state": {"terminated": {"signal": 9}}}), "0/1", "Signal:9", id="signal without reason"),
        pytest.param(
            pod(ended(0, "Completed"), running(), conditions=READY), "1/2", "Running", id="one done, one runs"
        ),
        pytest.param(pod(ended(0, "Completed"), running()), "1/2", "NotReady", id="one done, pod not ready"),
        pytest.param(pod(running(), deleted=True), "1/1", "Terminating", id="terminating"),
        pytest.param(
            pod(ended(0, "Completed"), phase="Succeeded", deleted=True), "0/1", "Completed", id="deleted, done"
        ),
        pytest.param(pod(running(), deleted=True, reason="NodeLost"), "1/1", "Unknown", id="node lost"),
        pytest.param(pod(phase="Failed", reason="Evicted"), "0/0", "Evicted", id="evicted"),
        pytest.param(pod(waiting("PodInitializing"), init=[running()]), "0/1", "Init:0/1", id="init runs"),
        pytest.param(pod({}, init=[ended(0), waiting("PodInitializing")]), "0/1", "Init:1/2", id="second init"),
        pytest.param(pod({}, init=[waiting("ErrImagePull")]), "0/1", "Init:ErrImagePull", id="init waits"),
        pytest.param(pod({}, init=[ended(1, "Error")]), "0/1", "Init:Error", id="init failed"),
        pytest.param(pod({}, init=[ended(2)]), "0/1", "Init:ExitCode:2", id="init failed without reason"),
        pytest.param(pod(running(), init=[running(started=True) | SIDECAR]), "2/2", "Running", id="sidecar"),
    ],
)
def test_pod_ready_and_status(obj, ready, status):
    row = shown(obj)
    assert (row["Ready"], row["Status"], row["Age"]) == (ready, status, "45s")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(running(), "0", id="never"),
        pytest.param(running(restartCount=2), "2", id="time unknown"),
        pytest.param(
            running(restartCount=3, lastState={"terminated": {"finishedAt": before(seconds=20)}}),
            "3 (20s ago)",
            id="ago",
        ),
    ],
)
def test_pod_restarts(status, expected):
    assert shown(pod(status))["Restarts"] == expected


def test_pod_wide():
    obj = pod(running(), podIP="127.1.1.2", spec={"nodeName": "box"})
    row = shown(obj, wide=True)
    assert list(row)[5:] == ["IP", "Node", "Nominated Node", "Readiness Gates"]
    assert list(row.values())[5:] == ["127.1.1.2", "box", "<none>", "<none>"]
