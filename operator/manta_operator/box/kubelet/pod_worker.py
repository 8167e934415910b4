"""The life of one pod: volumes, init containers in order, containers, and the end.

`kubelet.py` makes one worker per pod and tells it of every change; the status is written here, when it changed.
"""

import asyncio
import logging
import shutil
from dataclasses import replace
from typing import Any

from manta_operator.box.addresses import AddressesExhausted
from manta_operator.box.cluster import ApiError, Object
from manta_operator.box.kubelet.account import write_credentials
from manta_operator.box.kubelet.config import StartError
from manta_operator.box.kubelet.container import Container, Restart
from manta_operator.box.kubelet.events import timestamp
from manta_operator.box.kubelet.projections import VolumeError
from manta_operator.box.kubelet.sandbox import Sandbox
from manta_operator.box.kubelet.status import PodView, Terminated, Waiting, pod_status
from manta_operator.box.kubelet.volumes import prepare_volumes, refresh_volumes

_log = logging.getLogger(__name__)
_DEFAULT_GRACE = 30
_FINAL_PHASES = ("Succeeded", "Failed")


class PodWorker:
    """`run` returns when nothing of the pod is left on this machine."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        spec = sandbox.pod["spec"]
        restart: Restart = spec.get("restartPolicy") or "Always"
        init = spec.get("initContainers") or ()
        self._sidecars = frozenset(c["name"] for c in init if c.get("restartPolicy") == "Always")
        once: Restart = "Never" if restart == "Never" else "OnFailure"
        self._init = [self._container(c["name"], "Always" if c["name"] in self._sidecars else once) for c in init]
        self._main = [self._container(c["name"], restart) for c in spec["containers"]]
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._grace = 0.0
        self._delete_when_done = False
        self._start_time = timestamp()
        self._published: dict[str, Any] = {}

    def _container(self, name: str, restart: Restart) -> Container:
        return Container(self._sandbox, name, restart, self._on_change)

    @property
    def name(self) -> tuple[str, str]:
        """Namespace and name of the pod."""
        return self._sandbox.pod["metadata"]["namespace"], self._sandbox.pod["metadata"]["name"]

    def container(self, name: str) -> Container | None:
        """The container of that name, init containers included."""
        return next((c for c in (*self._init, *self._main) if c.name == name), None)

    @property
    def sandbox(self) -> Sandbox:
        """What the containers share."""
        return self._sandbox

    def update(self, pod: Object) -> None:
        """The pod changed in the store."""
        self._sandbox.pod = pod
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            grace = metadata.get("deletionGracePeriodSeconds")
            if grace is None:
                grace = pod["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
            self._delete_when_done = True
            self.end(grace * self._sandbox.config.timing.second)
        self._publish()

    def refresh(self, kind: str, name: str) -> None:
        """A ConfigMap or Secret of the namespace changed, came or went: running containers see it in their volumes."""
        box = self._sandbox
        if not box.volumes or self._ending.is_set():
            return
        try:
            refresh_volumes(box.cluster, box.config, box.body, box.folder / "volumes", (kind, name))
        except (VolumeError, StartError, OSError) as error:
            self._event("Warning", "FailedMount", f"{kind} {name} changed, its volume did not: {error}")

    def removed(self) -> None:
        """The pod is gone from the store: kill it."""
        self._delete_when_done = False
        self.end(0)

    def end(self, grace: float) -> None:
        """Stop within `grace` seconds; 0 kills at once, also when it is being stopped already."""
        if not self._ending.is_set():
            self._grace = grace
            self._ending.set()
        elif grace <= 0:
            for container in (*self._init, *self._main):
                container.kill()

    async def run(self) -> None:
        """Live until told to end; then stop, clean up and delete the pod where it was marked for deletion."""
        life = asyncio.create_task(self._live_and_log())
        try:
            await self._ending.wait()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            self._publish()
            await self._stop_containers()
        finally:
            life.cancel()
            for container in (*self._init, *self._main):
                container.kill()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._publish()
            self._sandbox.config.pod_addresses.release(self._sandbox.address)
            await asyncio.to_thread(shutil.rmtree, self._sandbox.folder, ignore_errors=True)
        if self._delete_when_done:
            self._delete()

    async def _live_and_log(self) -> None:
        try:
            await self._live()
        except Exception as error:  # noqa: BLE001  (a bug in one pod's life must not end the node's)
            _log.exception("pod %s/%s", *self.name)
            self._event("Warning", "FailedSync", f"the box's kubelet failed (a bug, see its log): {error!r}")

    async def _live(self) -> None:
        if (self._sandbox.pod.get("status") or {}).get("phase") in _FINAL_PHASES:
            return
        await self._prepare()
        for container in self._init:
            task = self._begin(container)
            if container.name in self._sidecars:
                await self._until_started(container)
            else:
                await asyncio.wait([task])
                if not _succeeded(container):
                    await self._stop_sidecars()
                    return
        for container in self._main:
            container.view = replace(container.view, state=Waiting("ContainerCreating"))
        tasks = [self._begin(container) for container in self._main]
        await asyncio.wait(tasks)
        await self._stop_sidecars()

    async def _prepare(self) -> None:
        """Address and volumes; tried again until they can be had."""
        while True:
            try:
                if not self._sandbox.address:
                    self._sandbox.address = self._sandbox.config.pod_addresses.allocate()
                self._publish()
                box, folder = self._sandbox, self._sandbox.folder
                write_credentials(box.config, box.pod, folder)
                volumes = prepare_volumes(box.cluster, box.config, box.body, folder / "volumes")
            except AddressesExhausted as error:
                self._event("Warning", "FailedCreatePodSandBox", str(error))
            except (VolumeError, StartError) as error:
                self._event("Warning", "FailedMount", f"MountVolume failed: {error}")
            else:
                self._sandbox.volumes = volumes
                return
            await asyncio.sleep(self._sandbox.config.timing.retry)

    def _begin(self, container: Container) -> asyncio.Task[None]:
        task = self._tasks[container.name] = asyncio.create_task(container.run())
        return task

    async def _until_started(self, sidecar: Container) -> None:
        while not (sidecar.view.started or sidecar.view.done):
            self._changed.clear()
            await self._changed.wait()

    async def _stop_containers(self) -> None:
        await asyncio.gather(*(container.stop(self._grace) for container in self._main))
        for container in self._init:
            if container.name not in self._sidecars:
                await container.stop(self._grace)
        await self._stop_sidecars()

    async def _stop_sidecars(self) -> None:
        """After the containers they serve, the last one first, as Kubernetes does."""
        for container in reversed(self._init):
            if container.name in self._sidecars:
                await container.stop(self._grace or _DEFAULT_GRACE * self._sandbox.config.timing.second)

    def _on_change(self) -> None:
        self._changed.set()
        self._publish()

    def _view(self) -> PodView:
        return PodView(
            pod_ip=self._sandbox.address,
            host_ip=self._sandbox.config.address,
            start_time=self._start_time,
            init=[c.view for c in self._init],
            containers=[c.view for c in self._main],
            sidecars=self._sidecars,
            terminating=self._ending.is_set(),
        )

    def _publish(self) -> None:
        """Write the status if it differs from the stored one. The next change tries again what failed."""
        namespace, name = self.name
        cluster = self._sandbox.cluster
        try:
            stored = cluster.find("Pod", namespace, name)
            if stored is None or stored["metadata"]["uid"] != self._sandbox.pod["metadata"]["uid"]:
                return
            old = stored.get("status") or {}
            if old.get("phase") in _FINAL_PHASES and not self._tasks:
                return
            gates = [gate["conditionType"] for gate in stored["spec"].get("readinessGates") or ()]
            status = pod_status(self._view(), old.get("conditions") or (), gates, timestamp())
            if status == self._published or all(old.get(key) == value for key, value in status.items()):
                return
            self._published = status
            cluster.patch_status("Pod", namespace, name, {"status": status})
        except ApiError as error:
            self._published = {}
            _log.warning("status of pod %s/%s not written: %s", namespace, name, error.message)

    def _delete(self) -> None:
        namespace, name = self.name
        uid = self._sandbox.pod["metadata"]["uid"]
        try:
            self._sandbox.cluster.delete("Pod", namespace, name, grace_seconds=0, uid=uid)
        except ApiError as error:
            if error.code not in (404, 409):
                _log.warning("pod %s/%s ended but was not deleted: %s", namespace, name, error.message)

    def _event(self, type_: str, reason: str, message: str) -> None:
        self._sandbox.events.record(self._sandbox.pod, type_, reason, message)


def _succeeded(container: Container) -> bool:
    state = container.view.state
    return isinstance(state, Terminated) and state.exit_code == 0
