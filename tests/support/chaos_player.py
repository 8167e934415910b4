"""Plays the controller manager and the kubelets where there are none, over HTTP and in bulk, as cheaply as can be.

It makes the engine pods of a StatefulSet, ready at once and without a real pod's contents; of the router's Deployment
it writes the status alone. It deletes the pods of groups that go, and collects children whose owner is gone. That is
all the operator reads of a healthy cluster, and it is cheap enough for thousands.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from chaos_api import Api, Object, Refused

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
        going = event["type"] == "DELETED" or metadata.get("deletionTimestamp")
        played = going or (body.get("status") or {}).items() >= _healthy(kind, body).items()
        if kind == "statefulsets" and going:
            work = self._end(body)
        elif played or self.hold(metadata["name"]):
            return
        else:
            work = self._play(kind, body)
        task = asyncio.create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _play(self, kind: str, body: Object) -> None:
        async with self._places:
            for pod in _pods(body) if kind == "statefulsets" else ():
                await _if_there(self._api.call("POST", self._pod(), pod))
                await _if_there(self._api.merge(self._pod(pod["metadata"]["name"], "/status"), _RUNNING))
            path = path_of(kind, self._namespace, body["metadata"]["name"])
            await _if_there(self._api.merge(f"{path}/status", {"status": _healthy(kind, body)}))
            self.played += 1
            self.played_at = time.monotonic()

    async def _end(self, body: Object) -> None:
        async with self._places:
            for pod in _pods(body):
                path = self._pod(pod["metadata"]["name"])
                await _if_there(self._api.call("DELETE", path, {"gracePeriodSeconds": 0}))

    def _pod(self, name: str = "", subresource: str = "") -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods" + (f"/{name}{subresource}" if name else "")

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


_RUNNING = {
    "status": {
        "phase": "Running",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
}


async def add_namespace(api: Api, name: str) -> None:
    """A namespace with the account that a controller manager would make there: no pod is admitted without it."""
    await api.apply(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await api.apply(f"/api/v1/namespaces/{name}/serviceaccounts/default", account)


async def add_node(api: Api) -> None:
    """The node that all played pods are on, with room for any number of them; nothing if it is there."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "played"}}
    amounts = {"cpu": "100k", "memory": "1Pi", "pods": "100k"}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await _if_there(api.call("POST", "/api/v1/nodes", node))
    status = {"allocatable": amounts, "capacity": amounts, "conditions": [ready]}
    await api.merge("/api/v1/nodes/played/status", {"status": status})
    await api.merge("/api/v1/nodes/played", {"spec": {"taints": None}})  # an API server marks new nodes as not ready


async def _if_there(call: Awaitable[object]) -> None:
    """Await a write whose object may be gone, or there already."""
    try:
        await call
    except Refused as refused:
        if refused.code not in (404, 409):
            raise


def _pods(statefulset: Object) -> list[Object]:
    template, owner = statefulset["spec"]["template"], statefulset["metadata"]
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner["name"], "uid": owner["uid"]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{owner['name']}-{ordinal}",
                "labels": template["metadata"]["labels"] | {"apps.kubernetes.io/pod-index": str(ordinal)},
                "ownerReferences": [reference | {"controller": True}],
            },
            "spec": {"nodeName": "played", "containers": [{"name": "engine", "image": "played"}]},
        }
        for ordinal in range(statefulset["spec"].get("replicas", 1))
    ]


def _healthy(kind: str, body: Object) -> Object:
    replicas = body["spec"].get("replicas", 1)
    status = {"observedGeneration": body["metadata"]["generation"], "replicas": replicas, "readyReplicas": replicas}
    more = {"availableReplicas": replicas, "updatedReplicas": replicas}
    if kind == "statefulsets":
        more |= {"currentReplicas": replicas}
    return status | more
