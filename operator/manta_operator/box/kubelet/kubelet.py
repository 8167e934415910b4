"""The kubelet: one worker per pod bound to this node, for as long as the pod is in the store.

Restarts: exponential back-off from 1 s to 60 s (a real kubelet: 10 s to 300 s), reset after 10 minutes of running.
`securityContext`, resource limits and `readOnly` mounts are not enforced: processes run as the user of `manta up`.
"""

import asyncio
import logging
from pathlib import Path

import aiohttp

from manta_operator.box.cluster import Cluster, Event, Object
from manta_operator.box.kubelet.config import NodeConfig
from manta_operator.box.kubelet.events import EventRecorder
from manta_operator.box.kubelet.logs import log_file
from manta_operator.box.kubelet.pod_worker import PodWorker
from manta_operator.box.kubelet.sandbox import Sandbox
from manta_operator.box.kubelet.status import Running

_log = logging.getLogger(__name__)
_SHUTDOWN_GRACE = 10.0


class Kubelet:
    """Runs the pods of one node; `run` is the whole of it."""

    def __init__(self, cluster: Cluster, config: NodeConfig) -> None:
        self._cluster = cluster
        self._config = config
        self._events = EventRecorder(cluster, config.name)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Pods that are through, but that something (a finalizer) still keeps in the store.
        self._finished: set[str] = set()
        self._closing = False

    async def run(self) -> None:
        """Run pods until cancelled; then stop them all, within 10 seconds."""
        # One connection per probe, as a real kubelet: a kept one would hide that nobody accepts any more.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            try:
                async for event in self._cluster.watch("Pod", "ConfigMap", "Secret"):
                    if event.object["kind"] == "Pod":
                        self._see(event, http)
                    else:
                        self._refresh(event.object)
            finally:
                await self.stop_all(_SHUTDOWN_GRACE)

    async def stop_all(self, grace_seconds: float) -> None:
        """Stop every pod, without deleting any, and take no new ones. Returns when no process is left."""
        self._closing = True
        for worker in self._workers.values():
            worker.end(grace_seconds)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def log_path(self, namespace: str, pod: str, container: str, previous: bool = False) -> Path | None:
        """The log of a container's current run, or of the one before; None if there is no such file."""
        for worker in reversed(self._workers.values()):
            found = worker.container(container) if worker.name == (namespace, pod) else None
            if found:
                run = found.view.restarts - (1 if previous else 0)
                path = log_file(worker.sandbox.logs, container, run)
                return path if run >= 0 and path.exists() else None
        return None

    def log_grows(self, namespace: str, pod: str, container: str, path: Path) -> bool:
        """Whether the container's run that writes this log goes on."""
        if self.log_path(namespace, pod, container) != path:
            return False
        workers = [worker for worker in self._workers.values() if worker.name == (namespace, pod)]
        found = workers[-1].container(container) if workers else None
        return found is not None and isinstance(found.view.state, Running)

    def _see(self, event: Event, http: aiohttp.ClientSession) -> None:
        pod = event.object
        uid = pod["metadata"]["uid"]
        if event.type == "DELETED":
            self._finished.discard(uid)
            if uid in self._workers:
                self._workers[uid].removed()
        elif uid in self._workers:
            self._workers[uid].update(pod)
        elif (pod.get("spec") or {}).get("nodeName") == self._config.name and uid not in self._finished:
            self._begin(uid, pod, http)

    def _refresh(self, source: Object) -> None:
        namespace, name = source["metadata"]["namespace"], source["metadata"]["name"]
        for worker in self._workers.values():
            if worker.name[0] == namespace:
                worker.refresh(source["kind"], name)

    def _begin(self, uid: str, pod: Object, http: aiohttp.ClientSession) -> None:
        if self._closing:
            return
        sandbox = Sandbox(self._cluster, self._config, self._events, http, pod)
        worker = self._workers[uid] = PodWorker(sandbox)
        task = self._tasks[uid] = asyncio.create_task(worker.run(), name=f"pod {pod['metadata']['name']}")
        task.add_done_callback(lambda done: self._finish(uid, done))
        worker.update(pod)

    def _finish(self, uid: str, task: asyncio.Task[None]) -> None:
        del self._workers[uid], self._tasks[uid]
        if any(pod["metadata"]["uid"] == uid for pod in self._cluster.list("Pod")):
            self._finished.add(uid)
        if not task.cancelled() and (error := task.exception()):
            _log.error("worker of pod %s failed: %r", uid, error, exc_info=error)
