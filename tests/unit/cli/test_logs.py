"""`manta logs` through a real API server: whose logs, how much of them, and what is said where there are none."""

import threading
import time

import pytest

from manta_operator.cli.logs_command import Wanted, sources


@pytest.fixture
def world(cluster):
    cluster.deployment("tiny")
    for name in ("tiny-r-0-0", "tiny-r-0-1", "tiny-r-1-0"):
        cluster.pod(name)
        cluster.logs.write(name, f"{name} starts\n{name} serves")
    cluster.pod("tiny-router-x", component="router", containers=("envoy", "picker"))
    cluster.logs.write("tiny-router-x", "to 0\n", "picker")
    cluster.logs.write("tiny-router-x", "listens\n", "envoy")
    cluster.logs.write("tiny-r-1-0", "died\n", previous=True)
    return cluster


@pytest.mark.parametrize(
    ("case", "options", "expected"),
    [
        ("the heads", ["--tail=1"], ["tiny-r-0-0 | tiny-r-0-0 serves", "tiny-r-1-0 | tiny-r-1-0 serves"]),
        ("one replica", ["--replica=0"], ["tiny-r-0-0 starts", "tiny-r-0-0 serves"]),
        ("one rank", ["--rank=1", "--tail=-1"], ["tiny-r-0-1 starts", "tiny-r-0-1 serves"]),
        (
            "every rank of a replica",
            ["--rank=all", "--replica=0", "--tail=1"],
            ["tiny-r-0-0 | tiny-r-0-0 serves", "tiny-r-0-1 | tiny-r-0-1 serves"],
        ),
        ("the router", ["--router"], ["tiny-router-x/envoy | listens", "tiny-router-x/picker | to 0"]),
        ("one container", ["--router", "-c", "picker"], ["to 0"]),
        ("the run before", ["--previous", "--replica=1"], ["died"]),
    ],
)
def test_whose_logs(case, options, expected, world, manta):
    result = manta("logs", "tiny", *options, kubeconfig=world.kubeconfig())
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == expected, case


@pytest.mark.parametrize(
    ("case", "options", "words"),
    [
        ("no such deployment", ["nope"], ["no LLMDeployment nope", "manta status"]),
        ("no such replica", ["tiny", "--replica=7"], ["its pods are tiny-r-0-0"]),
        ("no run before", ["tiny", "--previous", "--replica=0"], ["previous terminated container"]),
        ("not a rank", ["tiny", "--rank=x"], ["a number, or all"]),
        ("the router has no ranks", ["tiny", "--router", "--rank=1"], ["--rank"]),
        ("the past does not go on", ["tiny", "-p", "-f"], ["exclude each other"]),
    ],
)
def test_what_is_wrong_is_named(case, options, words, world, manta):
    result = manta("logs", *options, kubeconfig=world.kubeconfig())
    assert result.exit_code == 2, case
    for word in words:
        assert word in result.stderr, case


def test_one_that_says_nothing_does_not_hide_the_others(world, manta):
    world.pod("tiny-r-2-0")
    result = manta("logs", "tiny", "--tail=1", kubeconfig=world.kubeconfig())
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert "tiny-r-2-0" in result.stderr


def test_silence_is_told(world, manta):
    world.pod("tiny-r-2-0")
    world.logs.write("tiny-r-2-0", "")
    result = manta("logs", "tiny", "--replica=2", kubeconfig=world.kubeconfig())
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith("tiny-r-2-0 has said nothing yet\n")


NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def wait_for_a_node(cluster, name):
    cluster.pod(name, node="")
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_GPU}
    cluster.do("patch_status", "Pod", "default", name, {"status": {"phase": "Pending", "conditions": [condition]}})


def test_a_pod_without_a_node_is_pending_and_it_is_said_why(cluster, manta):
    cluster.deployment("tiny")
    wait_for_a_node(cluster, "tiny-r-0-0")
    result = manta("logs", "tiny", kubeconfig=cluster.kubeconfig())
    why = f"pod tiny-r-0-0 is Pending: Unschedulable: {NO_GPU}"
    assert (result.exit_code, why in result.stderr) == (2, True)
    cluster.pod("tiny-r-1-0")
    cluster.logs.write("tiny-r-1-0", "serves\n")
    result = manta("logs", "tiny", kubeconfig=cluster.kubeconfig())
    assert (result.exit_code, result.stdout, why in result.stderr) == (0, "tiny-r-1-0 | serves\n", True)


def test_following_waits_for_a_node(cluster, manta, monkeypatch):
    monkeypatch.setattr("manta_operator.cli.logs_command.LOOK_SECONDS", 0.1)
    cluster.deployment("tiny")
    wait_for_a_node(cluster, "tiny-r-0-0")

    def later():
        cluster.logs.write("tiny-r-0-0", "at last\n")
        cluster.do("patch", "Pod", "default", "tiny-r-0-0", {"spec": {"nodeName": "n"}})
        time.sleep(0.4)
        cluster.do("delete", "Pod", "default", "tiny-r-0-0", grace_seconds=0)
        cluster.do("delete", "LLMDeployment", "default", "tiny")

    helper = threading.Timer(0.5, later)
    helper.start()
    result = manta("logs", "tiny", "-f", kubeconfig=cluster.kubeconfig())
    helper.join()
    assert result.stdout.splitlines() == ["tiny-r-0-0 | at last"]
    assert result.stderr.count(f"Pending: Unschedulable: {NO_GPU}; waiting") == 1


def test_a_deployment_without_pods_points_to_its_status(cluster, manta):
    cluster.deployment("tiny")
    result = manta("logs", "tiny", kubeconfig=cluster.kubeconfig())
    assert (result.exit_code, "`manta status tiny` says why" in result.stderr) == (2, True)


def test_following_takes_in_pods_that_come_later(world, manta, monkeypatch):
    monkeypatch.setattr("manta_operator.cli.logs_command.LOOK_SECONDS", 0.1)

    def later():
        world.logs.write("tiny-r-3-0", "late\n")
        world.pod("tiny-r-3-0")
        time.sleep(0.4)
        for pod in world.do("list", "Pod"):
            world.do("delete", "Pod", "default", pod["metadata"]["name"], grace_seconds=0)
        world.do("delete", "LLMDeployment", "default", "tiny")

    helper = threading.Timer(0.3, later)
    helper.start()
    result = manta("logs", "tiny", "-f", "--tail=1", kubeconfig=world.kubeconfig())
    helper.join()
    assert "tiny-r-3-0 | late" in result.stdout.splitlines()
    assert "tiny-r-0-0 | tiny-r-0-0 serves" in result.stdout.splitlines()
    assert (result.exit_code, "LLMDeployment tiny and its pods are gone" in result.stderr) == (0, True)


def test_a_restarted_container_is_a_new_source():
    labels = {"app.kubernetes.io/component": "engine", "apps.kubernetes.io/pod-index": "0"}
    spec = {"nodeName": "n", "containers": [{"name": "engine"}]}
    pod = {"metadata": {"name": "p", "namespace": "n", "labels": labels}, "spec": spec}
    (before,) = sources([pod], Wanted())
    pod["status"] = {"containerStatuses": [{"name": "engine", "restartCount": 1}]}
    assert sources([pod], Wanted()) != [before]


@pytest.mark.parametrize(
    ("case", "state", "container"),
    [
        ("its fetch has not begun", {"waiting": {"reason": "PodInitializing"}}, "engine"),
        ("it fetches", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "fetch"),
        ("its fetch failed", {"terminated": {"exitCode": 3}}, "fetch"),
        ("its fetch waits for another try", {"waiting": {"reason": "CrashLoopBackOff"}}, "fetch"),
        ("it has its model", {"terminated": {"exitCode": 0}}, "engine"),
    ],
)
def test_what_fetches_the_model_speaks_until_it_is_there(case, state, container):
    labels = {"app.kubernetes.io/component": "engine", "apps.kubernetes.io/pod-index": "0"}
    spec = {
        "nodeName": "n",
        "initContainers": [{"name": "fetch"}],
        "containers": [{"name": "engine"}, {"name": "more"}],
    }
    fetch = {"name": "fetch", "restartCount": 2, "state": state}
    pod = {"metadata": {"name": "p", "namespace": "n", "labels": labels}, "spec": spec}
    pod["status"] = {"initContainerStatuses": [fetch]}
    assert [(each.container, each.run) for each in sources([pod], Wanted())] == [
        (container, 2 if container == "fetch" else 0)
    ], case
    assert [each.container for each in sources([pod], Wanted(container="fetch"))] == ["fetch"]
