"""A real API server in a thread, and the command line in this one: what a person at a terminal has before them."""

import asyncio
import threading
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from manta_operator.api.crd import custom_resource_definition
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.cli.main import main

TOKEN = "t0ken"
SPEC = {"model": {"uri": "hf://org/model"}, "accelerator": {"type": "cpu"}}


class Logs:
    """The logs that a kubelet would know of, by (pod, container, previous)."""

    def __init__(self, folder: Path):
        self.folder = folder

    def log_path(self, namespace, pod, container, previous):
        path = self.folder / f"{pod}.{container}{'.previous' if previous else ''}"
        return path if path.exists() else None

    def log_grows(self, namespace, pod, container, path):
        return False

    def write(self, pod, text, container="engine", previous=False):
        (self.folder / f"{pod}.{container}{'.previous' if previous else ''}").write_text(text)


class Cluster:
    """The API server, and short words for what is in it."""

    def __init__(self, *, with_kind: bool = True):
        self.folder = Path()
        self.logs = Logs(Path())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        addresses = (f"10.0.0.{n}" for n in range(1, 200))
        self._server = ApiServer(token=TOKEN, service_addresses=addresses, logs=self.logs)
        self.run(self._server.start("127.0.0.1", 0, None))
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._with_kind = with_kind
        if with_kind:
            self.do("create", custom_resource_definition())
        for name in ("team", "system"):
            self.do("create", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def do(self, method, *args, **kwargs):
        """Call a method of the in-process cluster in its own thread."""

        async def call():
            return getattr(self._server.cluster, method)(*args, **kwargs)

        return self.run(call())

    def begin(self, folder):
        """Be empty, as at the start; files go to the folder."""
        self.folder = self.logs.folder = folder
        for kind in ("LLMDeployment", "StatefulSet", "Deployment", "Pod", "Service", "Lease"):
            for body in self.do("list", kind) if kind != "LLMDeployment" or self._with_kind else ():
                place = (kind, body["metadata"]["namespace"], body["metadata"]["name"])
                if body["metadata"].get("finalizers"):
                    self.do("patch", *place, {"metadata": {"finalizers": None}})
                if self.do("find", *place):
                    self.do("delete", *place, grace_seconds=0)
        return self

    def stop(self):
        self.run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def kubeconfig(self, *, token=TOKEN, server=None, namespace="default", name="kubeconfig"):
        document = {
            "clusters": [{"name": "c", "cluster": {"server": server or self.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
            "current-context": "here",
        }
        path = self.folder / name
        path.write_text(yaml.safe_dump(document))
        return path

    def deployment(self, name="tiny", namespace="default", status=None, finalizers=(), **spec):
        metadata = {"name": name, "namespace": namespace, "finalizers": list(finalizers)}
        body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": SPEC | spec}
        made = self.do("create", body)
        if status is not None:
            self.do("patch_status", "LLMDeployment", namespace, name, {"status": status})
        return made

    def pod(
        self,
        name,
        deployment="tiny",
        component="engine",
        namespace="default",
        containers=("engine",),
        node="n",
        **labels,
    ):
        labels |= {"deployment": deployment}
        every = {f"manta.dev/{key}": value for key, value in labels.items()}
        every |= {"app.kubernetes.io/component": component, "app.kubernetes.io/managed-by": "manta"}
        if component == "engine":
            every["apps.kubernetes.io/pod-index"] = name.rpartition("-")[2]
            every.setdefault("manta.dev/replica", name.split("-")[-2])
        spec = {"containers": [{"name": each, "image": "manta/x"} for each in containers]}
        spec |= {"nodeName": node} if node else {}
        metadata = {"name": name, "namespace": namespace, "labels": every}
        return self.do("create", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@pytest.fixture(scope="session")
def one_cluster():
    """Started once: that takes longer than a test."""
    world = Cluster()
    yield world
    world.stop()


@pytest.fixture
def cluster(one_cluster, tmp_path):
    return one_cluster.begin(tmp_path)


@pytest.fixture(scope="session")
def one_bare_cluster():
    world = Cluster(with_kind=False)
    yield world
    world.stop()


@pytest.fixture
def bare_cluster(one_bare_cluster, tmp_path):
    """Manta is not installed there."""
    return one_bare_cluster.begin(tmp_path)


@pytest.fixture
def manta(tmp_path, monkeypatch):
    """Call the command line in an empty folder with no configuration but what the test gives."""
    monkeypatch.chdir(tmp_path)
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "MANTA_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*args, kubeconfig=None, stdin=None, prog="manta"):
        named = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        return CliRunner().invoke(main, [*map(str, args), *named], input=stdin, prog_name=prog)

    return call
