"""A kubelet on an in-memory cluster, with seconds that last 50 ms."""

import asyncio
import contextlib
import copy
import time
import uuid
from pathlib import Path

import pytest

from manta_operator.box.addresses import AddressPool
from manta_operator.box.cluster import ApiError, Event
from manta_operator.box.kubelet import ImageResolver, Kubelet, NodeConfig, Timing
from manta_operator.box.kubelet.backoff import BackoffPolicy
from manta_operator.box.kubelet.config import Access

SECOND = 0.05


class MemoryCluster:
    """The part of `Cluster` that a kubelet uses: objects in a dict, changes in queues."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str | None, str], dict] = {}
        self.queues: list[asyncio.Queue] = []

    def _tell(self, type_, obj):
        for queue in self.queues:
            queue.put_nowait(Event(type_, copy.deepcopy(obj)))

    def find(self, kind, namespace, name):
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def get(self, kind, namespace, name):
        found = self.find(kind, namespace, name)
        if found is None:
            raise ApiError(404, "NotFound", f"{kind} {name} not found")
        return found

    def list(self, kind, namespace=None, selector=None):
        return [copy.deepcopy(o) for (k, ns, _), o in self.objects.items() if k == kind and namespace in (None, ns)]

    def create(self, obj):
        obj = copy.deepcopy(obj)
        obj["metadata"].setdefault("uid", str(uuid.uuid4()))
        obj["metadata"].setdefault("namespace", "default")
        self.objects[obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]] = obj
        self._tell("ADDED", obj)
        return copy.deepcopy(obj)

    def patch(self, kind, namespace, name, patch):
        self.get(kind, namespace, name)
        stored = self.objects[kind, namespace, name]
        stored.update(copy.deepcopy(patch))
        self._tell("MODIFIED", stored)
        return copy.deepcopy(stored)

    def patch_status(self, kind, namespace, name, patch):
        status = {**(self.get(kind, namespace, name).get("status") or {}), **patch["status"]}
        return self.patch(kind, namespace, name, {"status": status})

    def delete(self, kind, namespace, name, *, grace_seconds=None, uid=None):
        obj = self.get(kind, namespace, name)
        if kind == "Pod" and grace_seconds != 0:
            grace = obj["spec"].get("terminationGracePeriodSeconds", 30) if grace_seconds is None else grace_seconds
            marks = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
            self.patch(kind, namespace, name, {"metadata": {**obj["metadata"], **marks}})
            return
        del self.objects[kind, namespace, name]
        self._tell("DELETED", obj)

    async def watch(self, *kinds):
        queue = asyncio.Queue()
        for obj in list(self.objects.values()):
            queue.put_nowait(Event("ADDED", copy.deepcopy(obj)))
        self.queues.append(queue)
        try:
            while True:
                event = await queue.get()
                if event.object["kind"] in kinds:
                    yield event
        finally:
            self.queues.remove(queue)


class Node:
    """The kubelet under test and short words for talking about its pods."""

    def __init__(self, cluster, config) -> None:
        self.cluster, self.config = cluster, config
        self.kubelet = Kubelet(cluster, config)

    def run_pod(self, *containers, name="pod", **spec):
        body = {"nodeName": "box", "terminationGracePeriodSeconds": 20, "containers": list(containers), **spec}
        meta = {"name": name, "namespace": "default", "labels": {"app": "test"}}
        self.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})

    def status(self, name="pod"):
        return (self.cluster.find("Pod", "default", name) or {}).get("status") or {}

    def container(self, name="pod", index=0, key="containerStatuses"):
        return (self.status(name).get(key) or [{}])[index]

    def condition(self, type_, name="pod"):
        return next((c["status"] for c in self.status(name).get("conditions", []) if c["type"] == type_), None)

    def gone(self, name="pod"):
        return self.cluster.find("Pod", "default", name) is None

    def events(self, reason):
        return [e for e in self.cluster.list("Event") if e["reason"] == reason]

    def log(self, name="pod", container="main", previous=False):
        path = self.kubelet.log_path("default", name, container, previous)
        return path.read_text() if path else ""

    async def until(self, holds, seconds=8.0):
        deadline = time.monotonic() + seconds
        while not (result := holds()):
            assert time.monotonic() < deadline, (self.cluster.list("Pod"), self.events_text())
            await asyncio.sleep(0.01)
        return result

    def events_text(self):
        return [(e["reason"], e["message"], e["count"]) for e in self.cluster.list("Event")]


def sh(script, name="main", **more):
    """A container that runs a shell script."""
    return {"name": name, "image": "any", "command": ["sh", "-c", script], **more}


def alive(marker):
    """Process ids, zombies excepted, with `marker` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


@pytest.fixture(name="sh")
def sh_fixture():
    return sh


@pytest.fixture(name="alive")
def alive_fixture():
    return alive


def tokens(namespace, account):
    """A token of each ServiceAccount but of one that is not there."""
    if account == "absent":
        raise ApiError(404, "NotFound", "not found")
    return f"secret-token-of-{account}"


@pytest.fixture
async def node(tmp_path):
    config = NodeConfig(
        name="box",
        address="127.1.240.1",
        state=tmp_path / "state",
        run=tmp_path / "r",
        pod_addresses=AddressPool.for_pods(240),
        images=ImageResolver(),
        cluster_env={"MANTA_HOSTS": "/somewhere/hosts"},
        host_paths={"/var/lib/manta/models": tmp_path / "models"},
        access=Access("https://127.1.240.1:6443", "its certificate", tokens),
        backoff=BackoffPolicy(initial=SECOND, maximum=SECOND * 4, reset_after=60),
        timing=Timing(second=SECOND, retry=SECOND),
    )
    node = Node(MemoryCluster(), config)
    task = asyncio.create_task(node.kubelet.run())
    await asyncio.sleep(0)
    yield node
    await node.kubelet.stop_all(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
