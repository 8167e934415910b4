"""A whole box in this process (API server, controllers, kubelet, names, proxy) and short words for what is in it."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from manta_operator.box.box import Box, BoxConfig

HERE = Path(__file__).parent
TEST_SECONDS = 240
"""What comes true ends its wait at once; the rest is for machines that have much else to do."""
SLEEP = ["sleep", "600"]
LONG = (
    "test_group_starts",
    "test_group_faults",
    "test_traffic",
    "test_health",
    "test_rollout",
    "test_deletion",
    "test_operator_faults",
    "test_operator_chaos",
)


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that the other processes do not wait for one at the end."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def container(*command, name="main", **more):
    return {"name": name, "image": "manta/test", "command": list(command or SLEEP), **more}


def template(*containers, labels=None, **spec):
    spec = {"terminationGracePeriodSeconds": 5, "containers": list(containers) or [container()], **spec}
    return {"metadata": {"labels": labels or {"app": "web"}}, "spec": spec}


class World:
    """Namespace `default` of a running box."""

    def __init__(self, box):
        self.box = box
        self.cluster = box.cluster

    def make(self, api, kind, name, namespace="default", **body):
        meta = {"name": name, "namespace": namespace, **body.pop("metadata", {})}
        return self.cluster.create({"apiVersion": api, "kind": kind, "metadata": meta, **body})

    def pod(self, *containers, name="pod", **spec):
        made = template(*containers, **spec)
        return self.make("v1", "Pod", name, metadata={"labels": made["metadata"]["labels"]}, spec=made["spec"])

    def deployment(self, replicas=2, pods=None, **spec):
        selector = {"matchLabels": {"app": "web"}}
        return self.make(
            "apps/v1",
            "Deployment",
            "web",
            spec={"replicas": replicas, "selector": selector, "template": pods or template(), **spec},
        )

    def stateful_set(self, replicas=3, pods=None, **spec):
        body = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "serviceName": "group"}
        return self.make("apps/v1", "StatefulSet", "set", spec={**body, "template": pods or template(), **spec})

    def service(self, name="web", port=8080, **spec):
        body = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": port}], **spec}
        return self.make("v1", "Service", name, spec=body)

    def get(self, kind, name):
        return self.cluster.find(kind, "default", name)

    def pods(self):
        return {pod["metadata"]["name"]: pod for pod in self.cluster.list("Pod", "default")}

    def ready(self):
        return sorted(name for name, pod in self.pods().items() if is_ready(pod))

    @staticmethod
    def is_ready(pod):
        return is_ready(pod)

    def state(self, name="pod"):
        """State of the pod's first container."""
        pod = self.get("Pod", name) or {}
        return ((pod.get("status") or {}).get("containerStatuses") or [{}])[0].get("state") or {}

    def endpoints(self, service="web"):
        """Pod name → (ready, serving, terminating)."""
        found = {}
        for item in self.cluster.list("EndpointSlice", "default", {"kubernetes.io/service-name": service}):
            found |= self.conditions_in(item)
        return found

    @staticmethod
    def conditions_in(item):
        """The same of one EndpointSlice."""
        told = {e["targetRef"]["name"]: e["conditions"] for e in item.get("endpoints") or []}
        return {name: (c["ready"], c["serving"], c["terminating"]) for name, c in told.items()}

    def log(self, name="pod", previous=False):
        path = self.box.log_path("default", name, "main", previous)
        return path.read_text() if path else ""

    async def until(self, holds, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not (result := holds()):
            assert time.monotonic() < deadline, [
                (name, pod.get("status"), pod["metadata"].get("deletionTimestamp")) for name, pod in self.pods().items()
            ]
            await asyncio.sleep(0.01)
        return result

    async def kubectl(self, *arguments):
        """What kubectl prints; it must succeed."""
        program = shutil.which("kubectl")
        if program is None:
            pytest.skip("no kubectl on this machine")
        pipe = asyncio.subprocess.PIPE
        command = [program, f"--kubeconfig={self.box.kubeconfig}", f"--cache-dir={self.box.scratch}", *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        words, _ = await asyncio.wait_for(process.communicate(), 90)
        assert process.returncode == 0, words.decode()
        return words.decode()


def is_ready(pod):
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@pytest.fixture
async def world(tmp_path):
    box = Box(BoxConfig(state=tmp_path / "state"))
    await box.start()
    yield World(box)
    box.hurry()
    await box.stop()


@pytest.fixture(name="container")
def container_fixture():
    return container


@pytest.fixture(name="template")
def template_fixture():
    return template
