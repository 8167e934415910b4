"""A namespace of its own on some API server, a player in it, and an operator that can be killed: one scene of chaos."""

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chaos_api import Api, Object, Refused
from chaos_operator import Operator
from chaos_player import Player, add_namespace, add_node, deployments_path
from chaos_state import differences
from cluster_server import Server

from manta_operator.api.crd import custom_resource_definition

RESYNC_SECONDS = 5
SPEC = {"model": {"uri": "file:///models/tiny"}, "accelerator": {"type": "cpu"}, "router": {"replicas": 1}}


class Scene:
    """One namespace; `wanted` are the names of the LLMDeployments that should be there."""

    def __init__(self, folder: Path, server: Server, namespace: str, kubeconfig: Path | None = None) -> None:
        self.api = Api(server.kubeconfig)
        self.server = server
        self.namespace = namespace
        self.player = Player(self.api, namespace)
        arguments = (f"--namespace={namespace}", f"--resync-seconds={RESYNC_SECONDS}")
        self.operator = Operator(folder / "operator", kubeconfig or server.kubeconfig, *arguments)
        self.models = folder / "operator" / "models"
        self.wanted: set[str] = set()

    async def begin(self) -> None:
        """Bring the kind and the namespace, and play."""
        crd = custom_resource_definition()
        await self.api.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}", crd)
        await add_namespace(self.api, self.namespace)
        await self.until("LLMDeployments are served", self._served)
        await add_node(self.api)
        self.player.start()

    async def end(self) -> None:
        """Leave nothing behind."""
        await self.operator.kill()
        await self.player.stop()
        for body in await self.api.items(deployments_path(self.namespace)):
            path = deployments_path(self.namespace, body["metadata"]["name"])
            await self.api.merge(path, {"metadata": {"finalizers": None}})
            await self.delete(body["metadata"]["name"])
        await self.api.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        await self.api.close()

    async def _served(self) -> bool:
        try:
            await self.api.call("GET", deployments_path(self.namespace))
        except Refused:  # 404, then 429 while the storage is made
            return False
        return True

    async def create(self, name: str, **spec: Any) -> Object:
        """Create an LLMDeployment of the tiny model on CPU."""
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": SPEC | spec}
        made: Object = await self.api.call("POST", deployments_path(self.namespace), body)
        self.wanted.add(name)
        return made

    async def change(self, name: str, **spec: Any) -> Object:
        """Merge-patch the spec."""
        changed: Object = await self.api.merge(deployments_path(self.namespace, name), {"spec": spec})
        return changed

    async def delete(self, name: str) -> None:
        """Delete an LLMDeployment."""
        self.wanted.discard(name)
        try:
            await self.api.call("DELETE", deployments_path(self.namespace, name))
        except Refused as refused:
            if refused.code != 404:
                raise

    async def body(self, name: str) -> Object:
        """The LLMDeployment as it stands; {} if it is gone."""
        return await self.api.get(deployments_path(self.namespace, name)) or {}

    async def condition(self, name: str, kind: str) -> Object:
        """One condition; {} while there is none of the present generation."""
        body = await self.body(name)
        for each in (body.get("status") or {}).get("conditions") or ():
            if each["type"] == kind and each["observedGeneration"] == body["metadata"]["generation"]:
                return dict(each)
        return {}

    async def gone(self, name: str) -> bool:
        """Whether the LLMDeployment is gone, finalizer and all."""
        return not await self.body(name)

    async def until(self, what: str, holds: Any, seconds: float = 60) -> Any:
        """Wait until the coroutine function `holds` returns something true; return that."""
        deadline = time.monotonic() + seconds
        while not (result := await holds()):
            if time.monotonic() > deadline:
                said = "\n".join(self.operator.log.splitlines()[-25:])
                raise AssertionError(f"not after {seconds:g} s: {what}\noperator:\n{said}")
            await asyncio.sleep(0.1)
        return result

    async def settled(self, seconds: float = 90) -> None:
        """Wait until the namespace is exactly what is wanted; AssertionError tells what is not."""
        deadline = time.monotonic() + seconds
        while wrong := await self._wrong():
            if time.monotonic() > deadline:
                said = "\n".join(self.operator.log.splitlines()[-25:])
                raise AssertionError("\n".join([f"after {seconds:g} s:", *wrong, "operator:", said]))
            await asyncio.sleep(0.3)

    async def _wrong(self) -> list[str]:
        gone = await self.player.collect()
        wrong = [f"{gone} children were still to be collected"] if gone else []
        return wrong + await differences(self.api, self.namespace, self.wanted, self.models)

    async def writes_in(self, seconds: float) -> list[str]:
        """What the operator writes from now on, as methods and paths."""
        self.operator.requests()
        await asyncio.sleep(seconds)
        return [f"{each.method} {each.path}" for each in self.operator.requests() if each.writes]

    async def still(self, seconds: float) -> bool:
        """Whether the operator writes nothing for so long."""
        return not await self.writes_in(seconds)


@asynccontextmanager
async def scene(folder: Path, namespace: str, server: Server) -> Any:
    """A scene on the server, begun and ended."""
    stage = Scene(folder, server, namespace)
    await stage.begin()
    try:
        yield stage
    finally:
        await stage.end()
