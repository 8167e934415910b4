"""Probes of real processes: HTTP, TCP and commands."""

import sys

import pytest

pytestmark = pytest.mark.integration

SERVER = """
import http.server, pathlib, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = pathlib.Path(sys.argv[2], self.path.strip("/")).exists()
        self.send_response(200 if good else 503)
        self.end_headers()
        self.wfile.write(b"" if good else b"still loading")
    def log_message(self, *a): pass
http.server.HTTPServer((sys.argv[1], 8080), H).serve_forever()
"""


def server(**probes):
    command = [sys.executable, "-I", "-S", "-c", SERVER, "$(IP)", "/data"]
    return {
        "name": "main",
        "image": "any",
        "command": command,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        **probes,
    }


def volumes(folder):
    return [{"name": "data", "hostPath": {"path": str(folder), "type": "Directory"}}]


def http(path, **more):
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 20, **more}


async def test_readiness_follows_the_http_answer(node, tmp_path):
    node.run_pod(server(readinessProbe=http("/ready", failureThreshold=2)), volumes=volumes(tmp_path))
    await node.until(lambda: any("503: still loading" in e["message"] for e in node.events("Unhealthy")))
    assert node.status()["phase"] == "Running"
    assert node.condition("Ready") == "False"
    (tmp_path / "ready").touch()
    await node.until(lambda: node.condition("Ready") == "True")
    (tmp_path / "ready").unlink()
    await node.until(lambda: node.condition("Ready") == "False")
    assert node.container()["restartCount"] == 0


async def test_liveness_failure_restarts_the_container(node, tmp_path):
    (tmp_path / "live").touch()
    node.run_pod(server(livenessProbe=http("/live", initialDelaySeconds=20)), volumes=volumes(tmp_path))
    await node.until(lambda: node.condition("Ready") == "True")
    (tmp_path / "live").unlink()
    await node.until(lambda: node.container()["restartCount"] == 1)
    assert any("failed liveness probe, will be restarted" in e["message"] for e in node.events("Killing"))
    assert node.container()["lastState"]["terminated"]["exitCode"] == 143


async def test_the_startup_probe_holds_back_the_others(node, tmp_path):
    probes = {
        "startupProbe": http("/up", failureThreshold=400),
        "livenessProbe": http("/up", failureThreshold=1),
        "readinessProbe": http("/up"),
    }
    node.run_pod(server(**probes), volumes=volumes(tmp_path))
    await node.until(lambda: node.events("Unhealthy") and sum(e["count"] for e in node.events("Unhealthy")) > 4)
    assert all(e["message"].startswith("Startup probe") for e in node.events("Unhealthy"))
    assert node.container()["started"] is False
    (tmp_path / "up").touch()
    await node.until(lambda: node.condition("Ready") == "True")
    assert node.container()["restartCount"] == 0
    assert node.container()["started"] is True


async def test_a_startup_probe_that_never_succeeds_restarts_the_container(node, sh):
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "timeoutSeconds": 20, "failureThreshold": 2}
    node.run_pod(sh("exec sleep 60", startupProbe=probe))
    await node.until(lambda: node.container().get("restartCount") == 1)
    assert any("'false' exited with 1" in e["message"] for e in node.events("Unhealthy"))


async def test_tcp_readiness(node, tmp_path):
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "timeoutSeconds": 20}
    node.run_pod(server(readinessProbe=probe), volumes=volumes(tmp_path))
    await node.until(lambda: node.condition("Ready") == "True")


async def test_exec_probes_see_the_containers_environment_and_volumes(node, sh):
    command = ["sh", "-c", "test $COLOUR = blue && test -e /v/file"]
    container = sh(
        "touch /v/file; exec sleep 60",
        env=[{"name": "COLOUR", "value": "blue"}],
        readinessProbe={"exec": {"command": command}, "periodSeconds": 1, "timeoutSeconds": 20},
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    node.run_pod(container, volumes=[{"name": "v", "emptyDir": {}}])
    await node.until(lambda: node.condition("Ready") == "True")


async def test_an_exec_probe_that_hangs_is_killed(node, sh, alive):
    marker = "31536011"
    probe = {"exec": {"command": ["sleep", marker]}, "periodSeconds": 1, "timeoutSeconds": 1}
    node.run_pod(sh("exec sleep 60", readinessProbe=probe))
    await node.until(lambda: any("timed out" in e["message"] for e in node.events("Unhealthy")))
    await node.kubelet.stop_all(0)
    assert not alive(f"sleep\0{marker}")


async def test_grpc_probes_are_refused_with_advice(node, sh):
    node.run_pod(sh("sleep 60", livenessProbe={"grpc": {"port": 1}}))
    config_error = "CreateContainerConfigError"
    await node.until(lambda: node.container().get("state", {}).get("waiting", {}).get("reason") == config_error)
    waiting = node.container()["state"]["waiting"]
    assert "grpc is not supported by the box: use httpGet" in waiting["message"]
