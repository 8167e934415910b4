"""Plays the controller manager and the kubelets where there are none, over HTTP and in bulk, without a single pod.

It writes the status of StatefulSets and Deployments as if all their pods were ready, and collects children whose owner
is gone. That is all the operator reads of a healthy cluster, and it is cheap enough for thousands.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from chaos_api import Api, Object, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

SELECTOR = "labelSelector=app.kubernetes.io/managed-by%3Dmanta"
KINDS = {
    "serviceaccounts": "/api/v1",
    "secrets": "/api/v1",
    "configmaps": "/api/v1",
    "services": "/api/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "statefulsets": "/apis/apps/v1",
    "deployments": "/apis/apps/v1",
}
"""Every kind of child, and where it is served."""


def path_of(kind: str, namespace: str, name: str = "") -> str:
    """The path of a collection of children, or of one."""
    return f"{KINDS[kind]}/namespaces/{namespace}/{kind}" + (f"/{name}" if name else "")


def deployments_path(namespace: str, name: str = "") -> str:
    """The path of the LLMDeployments, or of one."""
    return f"/apis/manta.dev/v1alpha1/namespaces/{namespace}/llmdeployments" + (f"/{name}" if name else "")


class Player:
    """Plays one namespace; `played_at` is when it last wrote a status (monotonic), `hold` keeps names unready."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._tasks: list[asyncio.Task[None]] = []
        self._places = asyncio.Semaphore(8)
        self._writing: set[asyncio.Task[None]] = set()
        self.played = 0
        self.played_at = 0.0
        self.hold: Callable[[str], bool] = lambda _name: False

    def start(self) -> None:
        """Begin to play."""
        self._tasks = [asyncio.create_task(self._follow(kind)) for kind in ("statefulsets", "deployments")]

    async def stop(self) -> None:
        """Play no more."""
        for task in (*self._tasks, *self._writing):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._writing, return_exceptions=True)

    async def _follow(self, kind: str) -> None:
        while True:
            try:
                async for event in self._api.watch(path_of(kind, self._namespace), SELECTOR):
                    self._play_later(kind, event)
            except (OSError, Refused):  # the server is away
                await asyncio.sleep(0.2)

    def _play_later(self, kind: str, event: Object) -> None:
        body = event["object"]
        metadata = body["metadata"]
        wanted = _healthy(kind, body)
        if event["type"] == "DELETED" or metadata.get("deletionTimestamp") or self.hold(metadata["name"]):
            return
        if (body.get("status") or {}).items() >= wanted.items():
            return
        task = asyncio.create_task(self._play(path_of(kind, self._namespace, metadata["name"]), wanted))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _play(self, path: str, status: Object) -> None:
        async with self._places:
            try:
                await self._api.merge(f"{path}/status", {"status": status})
            except Refused as refused:
                if refused.code not in (404, 409):
                    raise
            self.played += 1
            self.played_at = time.monotonic()

    async def collect(self) -> int:
        """Delete, as the garbage collector does, the children of owners that are gone; return how many."""
        living = {body["metadata"]["uid"] for body in await self._api.items(deployments_path(self._namespace))}
        gone = 0
        for kind in KINDS:
            for body in await self._api.items(f"{path_of(kind, self._namespace)}?{SELECTOR}"):
                owners = {owner["uid"] for owner in body["metadata"].get("ownerReferences") or ()}
                if owners and not owners & living:
                    await self._api.call("DELETE", path_of(kind, self._namespace, body["metadata"]["name"]))
                    gone += 1
        return gone


def _healthy(kind: str, body: Object) -> Object:
    replicas = body["spec"].get("replicas", 1)
    status = {"observedGeneration": body["metadata"]["generation"], "replicas": replicas, "readyReplicas": replicas}
    more = {"availableReplicas": replicas, "updatedReplicas": replicas}
    if kind == "statefulsets":
        more |= {"currentReplicas": replicas}
    return status | more
