"""The real kubectl against our API server, over TLS, with the controllers running: what a newcomer types."""

import asyncio
import contextlib
import json
import os
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import yaml

from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.state import write_kubeconfig
from manta_operator.box.workloads.controllers import Controllers

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(KUBECTL is None, reason="no kubectl on PATH: install one to run these tests"),
]
ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "crds" / "manta.dev_llmdeployments.yaml"
TINY = ROOT / "examples" / "tiny.yaml"
SECONDS = 90


@dataclass
class Shell:
    """A shell in which `kubectl` talks to the server."""

    cluster: object
    folder: Path

    async def __call__(self, *arguments, fails=False, text=None):
        """What kubectl prints (what it complains of, where it shall fail)."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": str(self.folder / "kubeconfig")}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            KUBECTL, *map(str, arguments), env=env, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            out, err = await asyncio.wait_for(process.communicate((text or "").encode()), SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert (process.returncode != 0) == fails, (out + err).decode()
        return (err if fails else out).decode()

    def report(self, name, **status):
        """Write a status, as the operator does."""
        for condition in status.get("conditions", ()):
            condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self.cluster.patch_status("LLMDeployment", "default", name, {"status": status})


@pytest.fixture
async def kubectl(tmp_path):
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ApiServer(token="secret", service_addresses=iter(f"127.9.9.{n}" for n in range(1, 20)))
    await server.start("127.0.0.1", 0, context)
    write_kubeconfig(tmp_path, f"https://127.0.0.1:{server.port}", authority.cert_pem.bytes().decode(), "secret")
    running = asyncio.create_task(Controllers(server.cluster).run())
    shell = Shell(server.cluster, tmp_path)
    server.cluster.create(yaml.safe_load(CRD.read_text()))
    yield shell
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await server.stop()


def rows(table):
    """Cells of what `kubectl get` prints; columns are at least two spaces apart."""
    return [[cell for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def cells(table):
    return [[cell.strip() for cell in row] for row in rows(table)]


async def test_apply_twice_and_delete(kubectl):
    assert await kubectl("apply", "-f", TINY) == "llmdeployment.manta.dev/tiny created\n"
    assert await kubectl("apply", "-f", TINY) == "llmdeployment.manta.dev/tiny unchanged\n"
    changed = TINY.read_text().replace("replicas: 2 ", "replicas: 4 ")
    assert await kubectl("apply", "-f", "-", text=changed) == "llmdeployment.manta.dev/tiny configured\n"
    assert await kubectl("get", "llmd", "tiny", "-o", "jsonpath={.spec.replicas}") == "4"
    assert 'llmdeployment.manta.dev "tiny" deleted' in await kubectl("delete", "-f", TINY, "--timeout=60s")
    assert "NotFound" in await kubectl("get", "llmd", "tiny", fails=True)


async def test_the_definition_itself_is_applied_as_make_demo_does(kubectl):
    assert "serverside-applied" in await kubectl("apply", "--server-side", "--force-conflicts", "-f", CRD)
    said = await kubectl("wait", "--for=condition=Established", "crd/llmdeployments.manta.dev", "--timeout=60s")
    assert "condition met" in said


async def test_server_side_apply_and_its_conflicts(kubectl):
    said = await kubectl("apply", "--server-side", "-f", TINY)
    assert said == "llmdeployment.manta.dev/tiny serverside-applied\n"
    scaled = TINY.read_text().replace("replicas: 2 ", "replicas: 3 ")
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    refused = await kubectl(*other, text=scaled, fails=True)
    assert 'conflict with "kubectl": .spec.replicas' in refused
    assert "--force-conflicts" in refused
    await kubectl(*other, "--force-conflicts", text=scaled)
    assert await kubectl("get", "llmd", "tiny", "-o", "jsonpath={.spec.replicas}") == "3"


async def test_tables(kubectl):
    await kubectl("apply", "-f", TINY)
    conditions = [
        {"type": "Ready", "status": "False", "reason": "Waiting", "message": "1 of 2 replicas serve"},
        {"type": "Available", "status": "True", "reason": "Serving", "message": "it serves"},
    ]
    replicas = {"readyReplicas": 1, "desiredReplicas": 2}
    kubectl.report("tiny", **replicas, endpoint="http://tiny.default:8000", revision="r1", conditions=conditions)
    titles, row = cells(await kubectl("get", "llmd"))
    assert titles == ["NAME", "MODEL", "READY", "DESIRED", "AVAILABLE", "ENDPOINT", "AGE"]
    assert row[:-1] == ["tiny", "file:///var/lib/manta/models/tiny", "1", "2", "True", "http://tiny.default:8000"]
    titles, row = cells(await kubectl("get", "llmdeployments", "-A", "-o", "wide"))
    assert (titles[0], titles[-3:]) == ("NAMESPACE", ["ACCELERATOR", "REVISION", "MESSAGE"])
    assert (row[0], row[-3:]) == ("default", ["cpu", "r1", "1 of 2 replicas serve"])


async def test_get_as_yaml_can_be_applied_again(kubectl):
    await kubectl("apply", "-f", TINY)
    written = await kubectl("get", "llmd", "tiny", "-o", "yaml")
    found = yaml.safe_load(written)
    assert (found["kind"], found["spec"]["router"]["port"]) == ("LLMDeployment", 8000)
    assert "managedFields" not in found["metadata"]
    assert await kubectl("replace", "-f", "-", text=written) == "llmdeployment.manta.dev/tiny replaced\n"


async def test_describe_shows_spec_status_and_events(kubectl):
    await kubectl("apply", "-f", TINY)
    kubectl.report("tiny", plan="two replicas of one rank each")
    owner = kubectl.cluster.get("LLMDeployment", "default", "tiny")
    about = {"kind": owner["kind"], "apiVersion": owner["apiVersion"], "name": "tiny", "namespace": "default"}
    event = {"metadata": {"name": "e", "namespace": "default"}, "type": "Normal", "reason": "Planned"}
    about["uid"] = owner["metadata"]["uid"]
    named = {"apiVersion": "v1", "kind": "Event", "involvedObject": about, "message": "a plan was made"}
    kubectl.cluster.create({**event, **named})
    said = await kubectl("describe", "llmd", "tiny")
    for wanted in ("Name:         tiny", "Enforce Eager:", "two replicas of one rank each", "a plan was made"):
        assert wanted in said


async def test_explain(kubectl):
    said = await kubectl("explain", "llmd.spec.engine")
    assert ("VERSION:    v1alpha1" in said, "FIELD: engine <Object>" in said) == (True, True)
    assert "gpuMemoryUtilization\t<integer>" in said
    assert "FIELD: containers <[]Container>" in await kubectl("explain", "pod.spec.containers")


async def test_scale_patch_and_label(kubectl):
    await kubectl("apply", "-f", TINY)
    assert "scaled" in await kubectl("scale", "llmd", "tiny", "--replicas=5")
    await kubectl("patch", "llmd", "tiny", "--type=merge", "-p", '{"spec": {"rollout": {"drainSeconds": 7}}}')
    replace = [{"op": "replace", "path": "/spec/router/replicas", "value": 2}]
    await kubectl("patch", "llmd", "tiny", "--type=json", "-p", json.dumps(replace))
    assert "labeled" in await kubectl("label", "llmd", "tiny", "team=search")
    await kubectl("annotate", "llmd", "tiny", "example.org/why=test")
    (found,) = json.loads(await kubectl("get", "llmd", "-l", "team=search", "-o", "json"))["items"]
    spec = found["spec"]
    assert (spec["replicas"], spec["rollout"]["drainSeconds"], spec["router"]["replicas"]) == (5, 7, 2)
    assert found["metadata"]["annotations"]["example.org/why"] == "test"
    assert "must be greater than or equal to 0" in await kubectl("scale", "llmd", "tiny", "--replicas=-1", fails=True)


async def test_wait_sees_a_condition_come(kubectl):
    await kubectl("apply", "-f", TINY)
    waiting = asyncio.create_task(kubectl("wait", "llmd/tiny", "--for=condition=Ready", "--timeout=60s"))
    await asyncio.sleep(1)
    assert not waiting.done()
    kubectl.report("tiny", conditions=[{"type": "Ready", "status": "True", "reason": "Serving", "message": ""}])
    assert await waiting == "llmdeployment.manta.dev/tiny condition met\n"
    said = await kubectl("wait", "llmd/tiny", "--for=condition=Available", "--timeout=5s", fails=True)
    assert "timed out waiting for the condition" in said


async def test_workloads_and_what_they_own(kubectl):
    made = await kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2", "--dry-run=client", "-o=yaml")
    assert await kubectl("apply", "-f", "-", text=made) == "deployment.apps/web created\n"
    await kubectl("expose", "deployment", "web", "--port=80")
    await kubectl("wait", "deployment/web", "--for=jsonpath={.status.replicas}=2", "--timeout=60s")
    assert len(cells(await kubectl("get", "pods", "-l", "app=web"))) == 1 + 2
    assert "ReplicaSet/web-" in await kubectl("describe", "pods", "-l", "app=web")
    await kubectl("set", "image", "deployment/web", "web=web:2")
    assert "web:2" in await kubectl("get", "deployment", "web", "-o", "wide")
    assert "80/TCP" in await kubectl("get", "service", "web")
    await kubectl("delete", "deployment", "web", "--timeout=60s")
    await kubectl("wait", "rs", "-l", "app=web", "--for=delete", "--timeout=60s")
    assert await kubectl("get", "rs", "-o", "name") == ""


async def test_api_resources_and_versions(kubectl):
    said = await kubectl("api-resources", "--api-group=manta.dev")
    assert said.split("\n")[1].split() == ["llmdeployments", "llmd", "manta.dev/v1alpha1", "true", "LLMDeployment"]
    assert "manta.dev/v1alpha1" in (await kubectl("api-versions")).split()


async def test_what_kubectl_sends_as_protobuf(kubectl):
    await kubectl("create", "namespace", "team")
    await kubectl(
        "create", "secret", "generic", "hf", "--from-literal=HF_TOKEN=abc", "--from-literal=empty=", "-n=team"
    )
    secret = kubectl.cluster.get("Secret", "team", "hf")
    assert (secret["type"], secret["data"]) == ("Opaque", {"HF_TOKEN": "YWJj", "empty": ""})
    (kubectl.folder / "blob").write_bytes(b"\xff\x00")
    await kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-file=blob")
    made = kubectl.cluster.get("ConfigMap", "default", "c")
    assert (made["data"], made["binaryData"]) == ({"a": "1"}, {"blob": "/wA="})
    await kubectl("create", "serviceaccount", "robot")
    assert await kubectl("auth", "can-i", "create", "llmd") == "yes\n"
    assert "*.*" in await kubectl("auth", "can-i", "--list")
    refused = await kubectl("create", "deployment", "web", "--image=web:1", fails=True)
    assert "--dry-run=client -o yaml | kubectl apply -f -" in refused


async def test_unknown_field_is_refused_with_its_path(kubectl):
    wrong = TINY.read_text().replace("enforceEager: true", "enforceEagerly: true")
    said = await kubectl("apply", "-f", "-", text=wrong, fails=True)
    assert 'unknown field "spec.engine.enforceEagerly"' in said
    assert "NotFound" in await kubectl("get", "llmd", "tiny", fails=True)


async def test_broken_rule_is_refused_with_its_message(kubectl):
    wrong = TINY.read_text().replace("type: cpu", "type: cpu\n    perPod: 0")
    said = await kubectl("apply", "-f", "-", text=wrong, fails=True)
    assert "spec.accelerator.perPod" in said
    assert "greater than or equal to 1" in said
