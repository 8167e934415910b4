"""Pods on a whole box: names, Services, volumes, probes, logs and ends, with real processes."""

import asyncio
import sys
import time

import aiohttp
import pytest

pytestmark = pytest.mark.integration
SERVE = """
import http.server, os
http.server.HTTPServer((os.environ["IP"], 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
IP = {"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}
LOOK_UP = "import socket, sys; print(*sorted({i[4][0] for i in socket.getaddrinfo(sys.argv[1], 80)}), flush=True)"


def python(container, script, *arguments, **more):
    return container(sys.executable, "-c", script, *arguments, **more)


# What a pod asks the API server for: pods, then Secrets; it prints the answers' codes.
ASKS = """
import os, ssl, urllib.error, urllib.request, yaml
config = yaml.safe_load(open(os.environ["KUBECONFIG"]))
cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
tls, said = ssl.create_default_context(cafile=cluster["certificate-authority"]), []
for kind in ("pods", "secrets"):
    url = f"{cluster['server']}/api/v1/namespaces/default/{kind}"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + user["token"]})
    try:
        said.append(urllib.request.urlopen(request, context=tls).status)
    except urllib.error.HTTPError as error:
        said.append(error.code)
print(*said)
"""


async def test_a_service_leads_to_a_pod(world, container):
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    world.pod(python(container, SERVE, readinessProbe=probe, **IP))
    address = world.service()["spec"]["clusterIP"]
    await world.until(lambda: world.endpoints() == {"pod": (True, True, False)})
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}:8080/") as answer:
        assert answer.status == 200
        assert "Directory listing" in await answer.text()


async def test_names_of_services_and_of_pods_resolve_in_a_pod(world, container, template):
    address = world.service()["spec"]["clusterIP"]
    world.service("group", clusterIP="None", publishNotReadyAddresses=True)
    world.stateful_set(2, podManagementPolicy="Parallel")
    await world.until(lambda: len(world.endpoints("group")) == 2)
    ips = {name: pod["status"]["podIP"] for name, pod in world.pods().items()}
    hosts = world.box.kubeconfig.with_name("hosts")
    await world.until(lambda: all(ip in hosts.read_text() for ip in ips.values()))
    wanted = {
        "web": [address],
        "web.default.svc.cluster.local": [address],
        "set-1.group": [ips["set-1"]],
        "set-0.group.default.svc": [ips["set-0"]],
        "group.default": sorted(ips.values()),
    }
    for number, name in enumerate(wanted):
        world.pod(python(container, LOOK_UP, name), name=f"ask-{number}", restartPolicy="Never", labels={"a": "b"})
    for number, (name, addresses) in enumerate(wanted.items()):
        await world.until(lambda number=number: "terminated" in world.state(f"ask-{number}"))
        assert world.log(f"ask-{number}").split() == addresses, name


async def test_config_maps_as_files_and_variables(world, container):
    read = container(
        "sh", "-c", "cat /etc/app/greeting; echo $GREETING", volumeMounts=[{"name": "c", "mountPath": "/etc/app"}]
    )
    read["env"] = [{"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "greeting"}}}]
    world.pod(read, volumes=[{"name": "c", "configMap": {"name": "late"}}], restartPolicy="Never")
    await world.until(lambda: [e for e in world.cluster.list("Event", "default") if e["reason"] == "FailedMount"])
    world.make("v1", "ConfigMap", "late", data={"greeting": "hello\n"})
    await world.until(lambda: world.get("Pod", "pod")["status"].get("phase") == "Succeeded")
    assert world.log().split() == ["hello", "hello"]


async def test_probes_decide_on_readiness_and_life(world, container, tmp_path):
    flag, sick = tmp_path / "ready", tmp_path / "sick"
    readiness = {"exec": {"command": ["test", "-e", str(flag)]}, "periodSeconds": 1}
    liveness = {"exec": {"command": ["test", "!", "-e", str(sick)]}, "periodSeconds": 1, "failureThreshold": 1}
    world.pod(container(readinessProbe=readiness, livenessProbe=liveness))
    await world.until(lambda: "running" in world.state())
    assert world.ready() == []
    flag.touch()
    await world.until(world.ready)
    sick.touch()
    await world.until(lambda: world.get("Pod", "pod")["status"]["containerStatuses"][0]["restartCount"] == 1)


async def _back_offs(world, count):
    """(status of the container, when it was told) of each back-off, as the store saw them."""
    found = []
    async for event in world.cluster.watch("Pod"):
        [status] = (event.object.get("status") or {}).get("containerStatuses") or [{}]
        waiting = (status.get("state") or {}).get("waiting") or {}
        known = [before["state"]["waiting"] for before, _ in found]
        if waiting.get("reason") == "CrashLoopBackOff" and waiting not in known:
            found.append((status, time.monotonic()))
        if len(found) == count:
            break
    return found


async def test_a_crash_loop_backs_off_and_says_why(world, container):
    told = asyncio.create_task(_back_offs(world, 2))
    await asyncio.sleep(0)
    world.pod(container("sh", "-c", "echo no model here; exit 3", terminationMessagePolicy="FallbackToLogsOnError"))
    (first, began), (second, ended) = await asyncio.wait_for(told, 60)
    assert "back-off 1s" in first["state"]["waiting"]["message"]
    assert "back-off 2s" in second["state"]["waiting"]["message"]
    assert 0.5 < ended - began < 20
    last = first["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (3, "Error", "no model here")
    assert await world.kubectl("logs", "pod", "--previous") == "no model here\n"


async def test_an_image_that_is_not_here_is_refused_with_the_reason(world):
    world.pod({"name": "main", "image": "nginx:1"})
    waiting = await world.until(
        lambda: world.state().get("waiting", {}).get("reason") == "ErrImagePull" and world.state()
    )
    assert "nginx:1" in waiting["waiting"]["message"]


async def test_logs_by_kubectl_also_of_a_pod_that_leaves(world, container, tmp_path):
    free = tmp_path / "free"
    leaves = f"echo bye; while [ ! -e {free} ]; do sleep 0.05; done; exit 0"
    script = f"trap '{leaves}' TERM; echo hello; while :; do sleep 0.05; done"
    world.pod(container("sh", "-c", script), terminationGracePeriodSeconds=120)
    await world.until(lambda: world.log() == "hello\n")
    assert await world.kubectl("logs", "pod") == "hello\n"
    world.cluster.delete("Pod", "default", "pod")
    await world.until(lambda: "bye" in world.log())
    assert await world.kubectl("logs", "pod") == "hello\nbye\n"
    free.touch()
    folder = world.box.logs
    await world.until(lambda: not world.pods())
    assert [path.read_text() for path in folder.glob("default_pod_*/main/0.log")] == ["hello\nbye\n"]


async def test_a_pod_has_its_grace_and_no_more(world, container):
    stubborn = container("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    world.pod(stubborn, terminationGracePeriodSeconds=1)
    await world.until(lambda: world.log() == "up\n")
    started = time.monotonic()
    world.cluster.delete("Pod", "default", "pod")
    await world.until(lambda: not world.pods())
    assert 0.9 < time.monotonic() - started < 20


async def test_the_status_is_written_only_when_it_changes(world, container):
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    resources = {"requests": {"cpu": "100m"}}
    world.pod(container(readinessProbe=probe, livenessProbe=probe, resources=resources))
    await world.until(world.ready)
    before = world.get("Pod", "pod")
    assert before["status"]["qosClass"] == "Burstable"
    world.cluster.patch("Pod", "default", "pod", {"metadata": {"annotations": {"a": "b"}}})
    changed = world.get("Pod", "pod")["metadata"]["resourceVersion"]
    started = time.monotonic()
    await world.until(lambda: time.monotonic() - started > 2.2)
    assert world.get("Pod", "pod")["metadata"]["resourceVersion"] == changed


async def test_a_pod_may_do_what_its_service_account_may(world, container):
    """RBAC holds for pods: nothing without a Role, and with one exactly what that says."""
    rbac, account = "rbac.authorization.k8s.io/v1", {"kind": "ServiceAccount", "name": "reader", "namespace": "default"}
    world.make("v1", "ServiceAccount", "reader")
    world.make(rbac, "Role", "reader", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    world.make(rbac, "RoleBinding", "reader", roleRef=role, subjects=[account])
    asks = container(sys.executable, "-c", ASKS)
    world.pod(asks, serviceAccountName="reader")
    assert (await world.until(lambda: world.log().endswith("\n") and world.log())).split() == ["200", "403"]
    world.pod(asks, name="other")
    assert (await world.until(lambda: world.log("other").endswith("\n") and world.log("other"))).split() == ["403"] * 2
