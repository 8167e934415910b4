"""Pods as processes: running, failing, restarting, ending."""

import re

import pytest

pytestmark = pytest.mark.integration


def terminated(status):
    return status.get("state", {}).get("terminated")


async def test_a_pod_that_serves_is_running_and_ready(node, sh):
    node.run_pod(sh("echo hello; exec sleep 60"))
    await node.until(lambda: node.condition("Ready") == "True")
    status, container = node.status(), node.container()
    assert status["phase"] == "Running"
    assert re.fullmatch(r"127\.1\.240\.\d+", status["podIP"])
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert container["state"]["running"]["startedAt"]
    assert container["started"]
    assert container["containerID"].startswith("box://")
    await node.until(lambda: node.log() == "hello\n")
    assert node.events("Started")


async def test_init_containers_run_in_order_before_the_containers(node, sh):
    shared = {"volumes": [{"name": "v", "emptyDir": {}}]}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    first, second = sh("echo 1 >> /v/log", "first", **mounts), sh("echo 2 >> /v/log", "second", **mounts)
    node.run_pod(sh("cat /v/log", **mounts), initContainers=[first, second], restartPolicy="Never", **shared)
    await node.until(lambda: node.status().get("phase") == "Succeeded")
    assert node.log() == "1\n2\n"
    assert node.condition("Initialized") == "True"
    assert node.condition("Ready") == "False"


async def test_a_failed_init_container_fails_a_pod_that_never_restarts(node, sh):
    node.run_pod(sh("echo never"), initContainers=[sh("exit 3", "first")], restartPolicy="Never")
    await node.until(lambda: node.status().get("phase") == "Failed")
    assert terminated(node.container(key="initContainerStatuses"))["exitCode"] == 3
    assert node.log() == ""


async def test_a_sidecar_runs_beside_the_containers_and_ends_after_them(node, sh):
    sidecar = sh("trap 'exit 0' TERM; while :; do sleep 0.02; done", "side", restartPolicy="Always")
    node.run_pod(sh("sleep 0.2"), initContainers=[sidecar], restartPolicy="Never")
    await node.until(lambda: node.container(key="initContainerStatuses").get("started"))
    await node.until(lambda: node.status().get("phase") == "Succeeded")
    await node.until(lambda: terminated(node.container(key="initContainerStatuses")))


async def test_a_crashing_container_is_restarted_with_growing_delays(node, sh):
    node.run_pod(sh("echo run; echo broken >&2; exit 7", terminationMessagePolicy="FallbackToLogsOnError"))
    await node.until(lambda: node.container().get("restartCount", 0) >= 2)
    await node.until(lambda: node.container()["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    last = node.container()["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (7, "Error", "run\nbroken")
    assert node.condition("Ready") == "False"
    assert node.log(previous=True) == "run\nbroken\n"
    await node.until(lambda: node.events("BackOff")[0]["count"] >= 3)


async def test_on_failure_restarts_failures_only(node, sh):
    script = "[ -e /v/again ] || { touch /v/again; exit 1; }"
    container = sh(script, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    node.run_pod(container, restartPolicy="OnFailure", volumes=[{"name": "v", "emptyDir": {}}])
    await node.until(lambda: node.status().get("phase") == "Succeeded")
    assert node.container()["restartCount"] == 1


async def test_a_killed_process_is_reported_with_its_signal(node, sh):
    node.run_pod(sh("kill -9 $$$$"), restartPolicy="Never")
    await node.until(lambda: node.status().get("phase") == "Failed")
    assert terminated(node.container())["exitCode"] == 137
    assert terminated(node.container())["signal"] == 9


async def test_deletion_lets_the_process_finish_within_its_grace(node, sh, alive):
    script = "trap 'echo draining; sleep 0.2; echo done; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    node.run_pod(sh(script))
    await node.until(lambda: node.log() == "up\n" and node.condition("Ready") == "True")
    path = node.kubelet.log_path("default", "pod", "main", previous=False)
    node.cluster.delete("Pod", "default", "pod")
    await node.until(lambda: node.condition("Ready") == "False")
    assert not node.gone()
    await node.until(node.gone)
    assert path.read_text() == "up\ndraining\ndone\n"
    assert not list((node.config.state / "pods").iterdir())
    assert not list(node.config.run.iterdir())


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(node, sh, alive):
    marker = "31536001"
    node.run_pod(
        sh(f"trap '' TERM; sleep {marker} & wait; while :; do sleep 0.02; done"), terminationGracePeriodSeconds=4
    )
    await node.until(lambda: alive(marker))
    node.cluster.delete("Pod", "default", "pod")
    await node.until(node.gone)
    assert not alive(marker)


async def test_pre_stop_runs_before_sigterm(node, sh):
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /v/log"]}}}
    container = sh(
        "trap 'cat /v/log; exit 0' TERM; echo up; while :; do sleep 0.02; done",
        lifecycle=hook,
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    node.run_pod(container, volumes=[{"name": "v", "emptyDir": {}}])
    await node.until(lambda: node.log() == "up\n")
    path = node.kubelet.log_path("default", "pod", "main")
    node.cluster.delete("Pod", "default", "pod")
    await node.until(node.gone)
    assert path.read_text() == "up\nhook\n"


async def test_a_pod_removed_from_the_store_is_killed(node, sh, alive):
    marker = "31536002"
    node.run_pod(sh(f"sleep {marker}"))
    await node.until(lambda: alive(marker))
    node.cluster.delete("Pod", "default", "pod", grace_seconds=0)
    await node.until(lambda: not alive(marker))


async def test_a_killed_shim_takes_its_container_along_and_is_restarted(node, sh, alive):
    marker = "31536003"
    node.run_pod(sh(f"setsid sleep {marker} & sleep {marker}"))
    before = await node.until(lambda: len(alive(f"sleep\0{marker}")) == 2 and set(alive(marker)))
    worker = next(iter(node.kubelet._workers.values()))
    worker.container("main")._process._shim.kill()
    await node.until(lambda: node.container().get("restartCount") == 1)
    await node.until(lambda: len(alive(f"sleep\0{marker}")) == 2)
    assert not before & set(alive(marker))


async def test_other_nodes_pods_are_left_alone(node, sh):
    node.run_pod(sh("sleep 60"), name="theirs", nodeName="elsewhere")
    node.run_pod(sh("sleep 60"))
    await node.until(lambda: node.condition("Ready") == "True")
    assert node.status("theirs") == {}


async def test_an_unknown_image_is_refused_with_advice(node):
    node.run_pod({"name": "main", "image": "vllm/vllm-openai:latest"})
    await node.until(lambda: node.container().get("state", {}).get("waiting", {}).get("reason") == "ErrImagePull")
    assert "runs only Manta's own" in node.container()["state"]["waiting"]["message"]
    assert node.status()["phase"] == "Pending"


async def test_a_pod_waits_for_its_config_map_and_goes_on_by_itself(node, sh):
    node.run_pod(
        sh("cat /etc/c/key", volumeMounts=[{"name": "c", "mountPath": "/etc/c"}]),
        restartPolicy="Never",
        volumes=[{"name": "c", "configMap": {"name": "late"}}],
    )
    event = (await node.until(lambda: node.events("FailedMount")))[0]
    assert "ConfigMap default/late does not exist" in event["message"]
    node.cluster.create({"kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"key": "value"}})
    await node.until(lambda: node.status().get("phase") == "Succeeded")
    assert node.log() == "value"


async def test_a_missing_secret_key_is_a_config_error(node, sh):
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    node.run_pod(sh("echo $A", env=env), restartPolicy="Never")
    waiting = await node.until(lambda: node.container().get("state", {}).get("waiting", {}).get("message"))
    assert waiting == "Secret default/s does not exist: create it"
    node.cluster.create({"kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "aGk="}})
    await node.until(lambda: node.status().get("phase") == "Succeeded")
    assert node.log() == "hi\n"


async def test_stop_all_leaves_no_process_and_keeps_the_pods(node, sh, alive):
    marker = "31536004"
    for name in ("a", "b"):
        node.run_pod(sh(f"setsid sleep {marker} & sleep {marker}"), name=name)
    await node.until(lambda: len(alive(f"sleep\0{marker}")) == 4)
    await node.kubelet.stop_all(1)
    assert not alive(marker)
    assert not node.gone("a")
