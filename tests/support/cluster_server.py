"""Which API server suites and trials run on: looks for one, starts one where it may, and says what it found.

    MANTA_TEST_CLUSTER   a kubeconfig of a disposable cluster
    KUBEBUILDER_ASSETS   a folder with etcd and kube-apiserver (the envtest convention): started here, on loopback
    kind                 where Docker answers: a cluster is made and deleted
    the box              otherwise

What the server lacks (controller manager, scheduler) is found out by looking at what happens, not by configuration.
Trials and benchmarks play the controllers themselves, in bulk (chaos_player.py): they take a server without any.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from unittest import SkipTest

import cluster_started
from cluster_credentials import read
from cluster_http import HttpCluster

from manta_operator.box.cluster import ApiError

PREFIX = "manta-it-"
LOOK_SECONDS = 20
"""Long for a server without controllers, but a slow one that has them must not get others beside."""
KIND_SECONDS = 300


class Server:
    """A server that is there: `what` says which one it is, `run` is the beginning of every name of this run."""

    def __init__(self, what, kubeconfig, folder, process=None):
        """`process` is what can be killed and started again, if it is ours and keeps its objects."""
        self.what, self.kubeconfig, self.folder, self.process = what, kubeconfig, folder, process
        self.run = f"{PREFIX}{uuid.uuid4().hex[:6]}-"
        self.credentials = read(kubeconfig)
        self.cluster = HttpCluster(self.credentials)
        self.version = self.cluster.call("GET", "/version")["gitVersion"]
        self.lacks = ()
        self.nodes = 0

    def __str__(self):
        lacking = " and ".join(self.lacks)
        parts = f"{lacking} played by the box's" if lacking else "its own controllers and scheduler"
        nodes = f"{self.nodes} real node{'' if self.nodes == 1 else 's'}, pods played on nodes of the tests"
        return f"{self.what}, {self.version}; {parts}; {nodes}"

    def look(self):
        """Find out what is missing, by giving a controller manager and a scheduler something to do."""
        space = f"{self.run}look"
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        try:
            self._probe(space)
            seen = self._wait(space)
        finally:
            self._forget(space, "controllers" not in self.lacks)
        self.lacks = tuple(part for part in ("controllers", "scheduler") if part not in seen)
        ready = [node for node in self.cluster.list("Node") if _is_real(node)]
        self.nodes = len(ready)

    def _probe(self, space):
        labels = {"app": "look"}
        pod = {"containers": [{"name": "a", "image": "a"}], "nodeSelector": {"manta.dev/nowhere": space}}
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        meta = {"name": "look", "namespace": space}
        self.cluster.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": space}}
        with contextlib.suppress(ApiError):  # a controller manager has made it
            self.cluster.create(account)
        self.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod})

    def _wait(self, space):
        deadline, seen = time.monotonic() + LOOK_SECONDS, set()
        while len(seen) < 2 and time.monotonic() < deadline:
            if self.cluster.get("Deployment", space, "look").get("status", {}).get("observedGeneration"):
                seen.add("controllers")
            if self.cluster.get("Pod", space, "look").get("status", {}).get("conditions"):
                seen.add("scheduler")
            time.sleep(0.1)
        return seen

    def _forget(self, space, collected):
        for kind in ("Deployment", "Pod"):
            self.cluster.delete(kind, space, "look")
        self.cluster.delete("Namespace", None, space)
        if not collected:
            self.finalize(space)

    def finalize(self, space):
        """Let a namespace go where nobody empties it."""
        namespace = self.cluster.find("Namespace", None, space)
        if namespace:
            namespace["spec"]["finalizers"] = []
            self.cluster.update(namespace, "finalize")


def _is_real(node):
    conditions = {entry["type"]: entry["status"] for entry in node.get("status", {}).get("conditions") or ()}
    return conditions.get("Ready") == "True" and "manta.dev/played" not in node["metadata"].get("labels", {})


@contextlib.contextmanager
def found(folder):
    """The server with controllers of some kind, for as long as the tests run."""
    with _given_or_envtest(folder) or _kind_or_box(folder) as server:
        server.look()
        with cluster_started.controllers(server) if server.lacks else contextlib.nullcontext():
            yield server


@contextlib.contextmanager
def found_alone(folder):
    """A server without controllers. Raises SkipTest where the one that is given has some."""
    folder.mkdir(parents=True, exist_ok=True)
    with _given_or_envtest(folder) or _box_api_server(folder) as server:
        # A controller manager makes this account. It would write over the statuses that a trial plays.
        if server.cluster.find("ServiceAccount", "default", "default"):
            reason = f"{server.kubeconfig}: a controller manager runs there; give an API server without one"
            raise SkipTest(reason)
        yield server


def _given_or_envtest(folder):
    named, assets = os.environ.get("MANTA_TEST_CLUSTER"), os.environ.get("KUBEBUILDER_ASSETS")
    if named:
        return contextlib.nullcontext(Server("the cluster of MANTA_TEST_CLUSTER", Path(named), folder))
    return _envtest(Path(assets), folder) if assets else None


@contextlib.contextmanager
def _envtest(assets, folder):
    with cluster_started.envtest(assets, folder) as (kubeconfig, process):
        yield Server("kube-apiserver and etcd of KUBEBUILDER_ASSETS", kubeconfig, folder, process)


@contextlib.contextmanager
def _kind_or_box(folder):
    if _kind_works():
        with _kind(folder) as kubeconfig:
            yield Server("a kind cluster", kubeconfig, folder)
    else:
        with cluster_started.box(folder) as kubeconfig:
            yield Server("the box", kubeconfig, folder)


@contextlib.contextmanager
def _box_api_server(folder):
    with cluster_started.box_api_server(folder) as kubeconfig:
        yield Server("the box's API server", kubeconfig, folder)


def _kind_works():
    if not (shutil.which("kind") and shutil.which("docker")):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0


@contextlib.contextmanager
def _kind(folder):
    name, kubeconfig = f"manta-{uuid.uuid4().hex[:6]}", folder / "kubeconfig"
    command = ["kind", "create", "cluster", f"--name={name}", f"--kubeconfig={kubeconfig}", "--wait=120s"]
    try:
        subprocess.run(command, check=True, timeout=KIND_SECONDS, stdout=sys.stderr)
        yield kubeconfig
    finally:
        subprocess.run(["kind", "delete", "cluster", f"--name={name}"], check=False, timeout=KIND_SECONDS)
