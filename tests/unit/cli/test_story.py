"""The story: what two snapshots are told as."""

from typing import Any

import pytest

from manta_operator.cli.story import Snapshot, snapshot, tell


def llmd(*, ready: int = 0, is_ready: bool = False, reason: str = "Starting", message: str = "0 of 2", decisions=()):
    status: dict[str, Any] = {
        "observedGeneration": 1,
        "readyReplicas": ready,
        "conditions": [{"type": "Ready", "status": str(is_ready), "reason": reason, "message": message}],
        "decisions": [{"reason": "Shaped", "message": text} for text in decisions],
    }
    return {"metadata": {"name": "tiny", "generation": 1}, "spec": {"replicas": 2}, "status": status}


def pod(
    *,
    ready: bool = False,
    phase: str = "Running",
    restarts: int = 0,
    leaving: bool = False,
    waiting=None,
    fetches=False,
):
    state = {"waiting": waiting} if waiting else {"running": {}}
    metadata: dict[str, Any] = {"name": "tiny-0-0", "labels": {"manta.dev/deployment": "tiny"}}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {
        "phase": phase,
        "podIP": "127.1.1.2",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "engine", "restartCount": restarts, "state": state}],
    }
    if fetches:
        status["initContainerStatuses"] = [
            {"name": "fetch", "restartCount": 0, "state": {"running": {"startedAt": "x"}}}
        ]
    return {"metadata": metadata, "spec": {"containers": [{"name": "engine"}]}, "status": status}


CRASH = {"reason": "CrashLoopBackOff", "message": "back-off 2s"}


@pytest.mark.parametrize(
    ("case", "before", "after", "expected"),
    [
        ("nothing changed", snapshot([llmd()], [pod()]), snapshot([llmd()], [pod()]), []),
        (
            "a decision is told once",
            snapshot([llmd(decisions=["a"])], []),
            snapshot([llmd(decisions=["a", "b"])], []),
            ["decided: b"],
        ),
        ("a pod appears", Snapshot(), snapshot([], [pod(phase="Pending")]), ["pod tiny-0-0: waits to start"]),
        (
            "a pod fetches",
            snapshot([], [pod(phase="Pending")]),
            snapshot([], [pod(phase="Pending", fetches=True)]),
            ["pod tiny-0-0: fetches the model on 127.1.1.2"],
        ),
        (
            "how far a fetch is",
            snapshot([llmd(reason="Fetching", message="1 of 4 GiB")], []),
            snapshot([llmd(reason="Fetching", message="2 of 4 GiB")], []),
            ["2 of 4 GiB"],
        ),
        (
            "a pod serves",
            snapshot([], [pod()]),
            snapshot([], [pod(ready=True)]),
            ["pod tiny-0-0: serves on 127.1.1.2"],
        ),
        (
            "a pod crashes",
            snapshot([], [pod(ready=True)]),
            snapshot([], [pod(restarts=1, waiting=CRASH)]),
            [
                "pod tiny-0-0 has been restarted (1 times so far)",
                "pod tiny-0-0: its processes run on 127.1.1.2",
                "pod tiny-0-0: CrashLoopBackOff: back-off 2s",
            ],
        ),
        ("a pod leaves", snapshot([], [pod()]), snapshot([], [pod(leaving=True)]), ["pod tiny-0-0: drains and leaves"]),
        ("a pod is gone", snapshot([], [pod(leaving=True)]), Snapshot(), ["pod tiny-0-0 is gone"]),
        ("progress", snapshot([llmd(ready=0)], []), snapshot([llmd(ready=1)], []), ["1 of 2 replicas serve"]),
        (
            "ready",
            snapshot([llmd(ready=1)], []),
            snapshot([llmd(ready=2, is_ready=True, message="all 2 replicas")], []),
            ["Ready: all 2 replicas"],
        ),
        (
            "stopped for a reason",
            snapshot([llmd()], []),
            snapshot([llmd(reason="NotOwned", message="Service tiny is not ours")], []),
            ["not ready, NotOwned: Service tiny is not ours"],
        ),
    ],
)
def test_tell(case, before, after, expected):
    assert [sentence for _, sentence in tell(before, after)] == expected, case


def test_a_status_of_an_older_generation_is_not_ready():
    body = llmd(is_ready=True)
    body["metadata"]["generation"] = 2
    assert not snapshot([body], []).all_ready


def test_an_empty_cluster_is_not_ready():
    assert not Snapshot().all_ready
