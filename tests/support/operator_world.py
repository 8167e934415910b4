"""The world of the operator's integration tests.

A real API server over TLS, the real workload controllers, and the real operator in a process of its own. The tests play
the kubelet: pods become ready when the test lets them.
"""

import asyncio
import contextlib
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import trustme

from manta_operator.api.crd import custom_resource_definition
from manta_operator.box.addresses import AddressPool
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.kubelet.config import inherited_env
from manta_operator.box.kubelet.process import Launch, Process
from manta_operator.box.state import write_kubeconfig
from manta_operator.box.workloads.controllers import Controllers
from manta_operator.box.workloads.node import NodeResources

TOKEN = "test"
RESYNC_SECONDS = 2
CHILD_KINDS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Service",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "StatefulSet",
    "Deployment",
)
KIND = "LLMDeployment"
Object = dict[str, Any]
MODEL = (
    '{"architectures": ["LlamaForCausalLM"], "num_attention_heads": 8, "num_key_value_heads": 8, "hidden_size": 256,'
)
MODEL += '"num_hidden_layers": 4, "max_position_embeddings": 2048}'


class World:
    """One cluster and one operator.

    New pods whose names start with a word of `hold` do not become ready; those with a word of `linger` do not end.
    """

    def __init__(self, folder: Path, *, with_kind: bool = True) -> None:
        self._folder = folder
        self._with_kind = with_kind
        self._server = ApiServer(token=TOKEN, service_addresses=AddressPool("127.2.251", 1))
        self._ca = trustme.CA()
        self._port = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._operator: Process | None = None
        self.arguments: list[str] = []
        """What the operator is started with besides."""
        self.hold: set[str] = set()
        self.linger: set[str] = set()
        self.cluster = self._server.cluster

    async def start(self) -> None:
        """Start cluster and operator."""
        (self._folder / "tiny").mkdir(parents=True)
        (self._folder / "tiny" / "config.json").write_text(MODEL)
        if self._with_kind:
            self.install()
        await self.serve()
        write_kubeconfig(self._folder, self.url, self._ca.cert_pem.bytes().decode(), TOKEN)
        self.start_operator()

    def install(self) -> None:
        """Bring the LLMDeployment kind."""
        self.cluster.create(custom_resource_definition())

    async def stop(self) -> None:
        """End everything."""
        await self.kill_operator()
        await self.vanish()

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://127.0.0.1:{self._port}"

    async def serve(self) -> None:
        """Let the API server (again) listen, and the controllers run."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert("127.0.0.1").configure_cert(tls)
        await self._server.start("127.0.0.1", self._port, tls)
        self._port = self._server._runner.addresses[0][1]
        node = NodeResources(cpu=64, memory=1 << 40)
        self._tasks = [asyncio.create_task(Controllers(self.cluster, node).run()), asyncio.create_task(self._kubelet())]

    async def vanish(self) -> None:
        """Take the API server away, controllers and kubelet with it; the store stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop()

    def start_operator(self) -> None:
        """Start the operator as `box.spawn` does."""
        command = [sys.executable, "-m", "manta_operator.cli", "operator", f"--resync-seconds={RESYNC_SECONDS}"]
        command += [f"--map=/models={self._folder}", *self.arguments]
        scratch = self._folder / "scratch"
        scratch.mkdir(exist_ok=True)
        env = inherited_env() | {"KUBECONFIG": str(self._folder / "kubeconfig"), "TMPDIR": str(scratch)}
        self._operator = Process(Launch("operator-test", command, env, Path.cwd(), self._folder / "log", scratch))

    async def kill_operator(self) -> None:
        """kill -9."""
        if self._operator is not None:
            await self._operator.kill_and_wait()

    async def end_operator(self) -> tuple[int, float]:
        """SIGTERM; return the exit code and the seconds it took."""
        began = time.monotonic()
        self._operator.terminate()
        code = await asyncio.wait_for(self._operator.wait(), 30)
        return code, time.monotonic() - began

    @property
    def log(self) -> str:
        """What the operator has said so far."""
        return (self._folder / "log").read_text()

    @property
    def operator_runs(self) -> bool:
        """Whether the operator's process lives."""
        return self._operator.running

    async def until(self, what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait until `condition` is true and return it."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(LookupError):
                if result := condition():
                    return result
            if time.monotonic() > deadline:
                said = "\n".join(self.log.splitlines()[-25:])
                raise AssertionError(f"not after {seconds} s: {what}\n{self._picture()}\noperator:\n{said}")
            await asyncio.sleep(0.05)

    def make(self, name: str, **spec: Any) -> Object:
        """Create an LLMDeployment of the tiny model on CPU."""
        base = {"model": {"uri": "file:///models/tiny"}, "accelerator": {"type": "cpu"}, "router": {"replicas": 1}}
        metadata = {"name": name, "namespace": "default"}
        return self.cluster.create(
            {"apiVersion": "manta.dev/v1alpha1", "kind": KIND, "metadata": metadata, "spec": base | spec}
        )

    def change(self, name: str, **spec: Any) -> None:
        """Merge-patch the spec."""
        self.cluster.patch(KIND, "default", name, {"spec": spec})

    async def serving(self, name: str) -> Object:
        """Wait until the deployment is Ready for its present generation; return it."""
        await self.until(f"{name} is Ready", lambda: self.judged(name, "Ready")["status"] == "True")
        return self.cluster.get(KIND, "default", name)

    def status(self, name: str) -> Object:
        """The status as it stands."""
        return self.cluster.get(KIND, "default", name).get("status") or {}

    def judged(self, name: str, kind: str) -> Object:
        """One condition, of the present generation; LookupError if it has not been judged."""
        body = self.cluster.get(KIND, "default", name)
        found = {entry["type"]: entry for entry in (body.get("status") or {}).get("conditions") or ()}
        if found[kind]["observedGeneration"] != body["metadata"]["generation"]:
            raise LookupError(kind)
        return found[kind]

    def children(self, name: str, *kinds: str) -> list[Object]:
        """Every child of the deployment, by its label."""
        label = {"manta.dev/deployment": name}
        return [
            {"kind": kind} | body for kind in kinds or CHILD_KINDS for body in self.cluster.list(kind, "default", label)
        ]

    def groups(self, name: str) -> list[str]:
        """Names of the StatefulSets that stay."""
        found = self.children(name, "StatefulSet")
        return sorted(each["metadata"]["name"] for each in found if not each["metadata"].get("deletionTimestamp"))

    def versions(self, name: str) -> dict[str, str]:
        """resourceVersion of the deployment and of each of its children: what moves when anybody writes."""
        bodies = [*self.children(name), self.cluster.get(KIND, "default", name)]
        return {f"{b['kind']}/{b['metadata']['name']}": b["metadata"]["resourceVersion"] for b in bodies}

    async def still(self, name: str) -> dict[str, str]:
        """Wait until nobody has written for a while, the box's controllers included; return `versions`."""
        before: dict[str, str] = {}
        while before != (now := self.versions(name)):
            before = now
            await asyncio.sleep(1.5)
        return now

    async def scale(self, name: str, replicas: int) -> None:
        """Scale through the subresource, as `kubectl scale` and an HPA do."""
        tls = ssl.create_default_context()
        self._ca.configure_trust(tls)
        path = f"{self.url}/apis/manta.dev/v1alpha1/namespaces/default/llmdeployments/{name}/scale"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/merge-patch+json"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.patch(path, json={"spec": {"replicas": replicas}}, ssl=tls) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def _kubelet(self) -> None:
        """Make bound pods ready unless they are held, and let deleted ones go."""
        while True:
            for pod in self.cluster.list("Pod"):
                self._run(pod)
            await asyncio.sleep(0.1)

    def _run(self, pod: Object) -> None:
        metadata, name = pod["metadata"], pod["metadata"]["name"]
        if metadata.get("deletionTimestamp"):
            if any(name.startswith(start) for start in self.linger):
                return
            self.cluster.delete("Pod", metadata["namespace"], name, grace_seconds=0)
            return
        held = any(name.startswith(start) for start in self.hold)
        conditions = {entry["type"]: entry for entry in (pod.get("status") or {}).get("conditions") or ()}
        if pod["spec"].get("nodeName") and not held and "Ready" not in conditions:
            every = [*conditions.values(), {"type": "Ready", "status": "True"}]
            status = {"phase": "Running", "podIP": "127.1.251.2", "conditions": every}
            self.cluster.patch_status("Pod", metadata["namespace"], name, {"status": status})

    def _picture(self) -> str:
        lines = []
        for body in (*self.cluster.list(KIND), *self.cluster.list("StatefulSet"), *self.cluster.list("Pod")):
            status = body.get("status") or {}
            said = [f"{c['type']}={c['status']} {c.get('message', '')}" for c in status.get("conditions") or ()]
            lines.append(f"{body['metadata']['name']} {body['metadata'].get('deletionTimestamp', '')} {said}")
        return "\n".join(lines)
