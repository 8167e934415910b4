"""Observed containers → pod status."""

from dataclasses import replace

import pytest

from manta_operator.box.kubelet.status import ContainerView, PodView, Running, Terminated, Waiting, pod_status

OLD, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def ended(code):
    return Terminated(code, "Completed" if code == 0 else "Error", "", OLD, NOW, "id")


WAITING = ContainerView("c", "i", Waiting("ContainerCreating"))
RUNNING = ContainerView("c", "i", Running(OLD), started=True)
READY = replace(RUNNING, ready=True)
CRASHED = ContainerView("c", "i", Waiting("CrashLoopBackOff"), last=ended(1), restarts=2)
COMPLETED = ContainerView("c", "i", ended(0), done=True)
FAILED = ContainerView("c", "i", ended(1), done=True)


def view(*containers, init=(), **more):
    return PodView("127.1.1.2", "127.1.1.1", OLD, init, containers, **more)


def conditions(status):
    return {c["type"]: c["status"] for c in status["conditions"]}


@pytest.mark.parametrize(
    ("pod", "phase", "initialized", "ready"),
    [
        (view(WAITING), "Pending", "True", "False"),
        (view(RUNNING), "Running", "True", "False"),
        (view(READY), "Running", "True", "True"),
        (view(READY, RUNNING), "Running", "True", "False"),
        (view(READY, WAITING), "Pending", "True", "False"),
        (view(CRASHED), "Running", "True", "False"),
        (view(COMPLETED), "Succeeded", "True", "False"),
        (view(COMPLETED, FAILED), "Failed", "True", "False"),
        (view(COMPLETED, READY), "Running", "True", "False"),
        (view(WAITING, init=[RUNNING]), "Pending", "False", "False"),
        (view(WAITING, init=[CRASHED]), "Pending", "False", "False"),
        (view(WAITING, init=[FAILED]), "Failed", "False", "False"),
        (view(READY, init=[COMPLETED]), "Running", "True", "True"),
        (view(READY, init=[READY], sidecars=frozenset("c")), "Running", "True", "True"),
        (view(READY, terminating=True), "Running", "True", "False"),
    ],
)
def test_phase_and_conditions(pod, phase, initialized, ready):
    status = pod_status(pod, [], [], NOW)
    assert status["phase"] == phase
    assert conditions(status)["Initialized"] == initialized
    assert conditions(status)["Ready"] == ready


def test_transition_times_change_with_the_status_only_and_others_conditions_stay():
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": OLD}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": OLD}
    stays = pod_status(view(READY), [scheduled, ready], [], NOW)["conditions"]
    assert scheduled in stays
    assert ready in stays
    falls = pod_status(view(RUNNING), [scheduled, ready], [], NOW)["conditions"]
    now = next(c for c in falls if c["type"] == "Ready")
    assert (now["status"], now["lastTransitionTime"], now["reason"]) == ("False", NOW, "ContainersNotReady")


def test_readiness_gates_hold_ready_back():
    gate = {"type": "manta.dev/x", "status": "False"}
    closed = pod_status(view(READY), [gate], ["manta.dev/x"], NOW)
    assert conditions(closed)["Ready"] == "False"
    assert conditions(closed)["ContainersReady"] == "True"
    opened = pod_status(view(READY), [{**gate, "status": "True"}], ["manta.dev/x"], NOW)
    assert conditions(opened)["Ready"] == "True"
