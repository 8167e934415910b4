"""Nodes and pods that are played where no kubelet is: what kwok does, and it can hold, fail and lose them.

Each test has nodes of its own. They carry the label manta.dev/played=true and a taint that only the test's pods
tolerate, so that neither real pods nor those of another test land on them, nor these on real nodes.
"""

import contextlib
import threading
import time

from played_status import FOR, HELD, PLAYED, READY, differs, micros, node, node_status, now, pod_status, taint

from manta_operator.box.cluster import ApiError

HEARTBEAT_SECONDS = 10
RETIRE_SECONDS = 45
AMOUNTS = {"cpu": "64", "memory": "512Gi", "pods": "110", "ephemeral-storage": "100Gi"}
GPU = "nvidia.com/gpu"
_UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}


class Played:
    """The nodes and pods of one namespace. `start`, use, `stop`."""

    def __init__(self, cluster, space):
        self._cluster, self.space = cluster, space
        self._nodes, self._lost, self._plays, self._pods = {}, set(), [], {}
        self._addresses = {}
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._threads = []

    @property
    def scheduling(self):
        """What sends pods to these nodes, as an LLMDeployment's scheduling says it."""
        return {"nodeSelector": {FOR: self.space}, "tolerations": [taint(self.space) | {"operator": "Equal"}]}

    def start(self):
        """Play from now on."""
        for work in (self._follow, self._beat):
            thread = threading.Thread(target=work, name=f"played-{self.space}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self):
        """Let all pods go, then take the nodes away; behind the caller's back, for a namespace takes its time."""
        with self._lock:
            self._lost.clear()
            pods = list(self._pods.values())
        for pod in pods:
            self._see(pod)
        threading.Thread(target=self._retire, name=f"retire-{self.space}", daemon=True).start()

    def _retire(self):
        deadline = time.monotonic() + RETIRE_SECONDS
        with contextlib.suppress(ApiError):
            while self._cluster.list("Pod", self.space) and time.monotonic() < deadline:
                time.sleep(0.5)
        for name in tuple(self._nodes):
            self.remove_node(name)
        self._ended.set()

    def add_node(self, suffix="a", gpus=0, **labels):
        """A node that is ready; its name."""
        name = f"{self.space}-{suffix}"
        amounts = AMOUNTS | ({GPU: str(gpus)} if gpus else {})
        self._nodes[name] = amounts
        self._cluster.create(node(name, self.space, labels))
        self._renew(name)
        self._cluster.patch_status("Node", None, name, {"status": node_status(amounts, ready=True)})
        # Where a node lifecycle controller runs, it takes `not-ready` away; an API server alone only puts it there.
        self._cluster.patch("Node", None, name, {"spec": {"taints": [taint(self.space)]}})
        return name

    def remove_node(self, name):
        """Take a node out of the cluster, as an operator of the cluster does."""
        self._nodes.pop(name, None)
        for kind, namespace in (("Node", None), ("Lease", "kube-node-lease")):
            with contextlib.suppress(ApiError):
                self._cluster.delete(kind, namespace, name)

    def lose(self, name, since=0):
        """The node falls silent, or did seconds ago: not ready any more, and its pods neither answer nor end."""
        with self._lock:
            self._lost.add(name)
        self._cluster.patch_status(
            "Node", None, name, {"status": node_status(self._nodes[name], ready=False, since=since)}
        )
        self._cluster.patch("Node", None, name, {"spec": {"taints": [taint(self.space), _UNREACHABLE]}})
        for pod in self._cluster.list("Pod", self.space):
            if pod["spec"].get("nodeName") == name:
                conditions = (pod.get("status") or {}).get("conditions") or []
                silent = {"type": "Ready", "status": "False", "lastTransitionTime": now()}
                others = [entry for entry in conditions if entry["type"] != "Ready"]
                self._write(pod, {"conditions": [*others, silent]})

    def find(self, name):
        """A lost node is back: it is ready, and its pods end or serve."""
        with self._lock:
            self._lost.discard(name)
            pods = list(self._pods.values())
        self._cluster.patch_status("Node", None, name, {"status": node_status(self._nodes[name], ready=True)})
        self._cluster.patch("Node", None, name, {"spec": {"taints": [taint(self.space)]}})
        for pod in pods:
            self._see(pod)

    def play(self, start, how):
        """Pods whose names begin with `start` are from now on READY, HELD, UNREADY or CRASHING."""
        with self._lock:
            self._plays.append((start, how))
            pods = list(self._pods.values())
        for pod in pods:
            self._see(pod)

    def at(self, start, address):
        """Pods whose names begin so have that address, where a test listens; say so before they start."""
        with self._lock:
            self._addresses[start] = address

    def hold(self, start):
        """Pods whose names begin so do not start."""
        self.play(start, HELD)

    def let(self, start):
        """They become ready, those that are there included."""
        self.play(start, READY)

    def _beat(self):
        while not self._ended.wait(HEARTBEAT_SECONDS):
            for name in set(self._nodes) - self._lost:
                with contextlib.suppress(ApiError):
                    self._renew(name)

    def _renew(self, name):
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micros()}
        metadata = {"name": name, "namespace": "kube-node-lease"}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        self._cluster.apply(lease, PLAYED.replace("/", "-"))

    def _follow(self):
        path = self._cluster.path("Pod", self.space)
        while not self._ended.is_set():
            try:
                listed = self._cluster.call("GET", path)
                with self._lock:
                    self._pods = {item["metadata"]["uid"]: item for item in listed["items"]}
                for item in listed["items"]:
                    self._see(item)
                query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
                self._watch(path, query | {"timeoutSeconds": "120"})
            except ApiError:
                self._ended.wait(0.3)

    def _watch(self, path, query):
        for event in self._cluster.stream(path, query, 150):
            if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                return
            pod = event["object"]
            with self._lock:
                if event["type"] == "DELETED":
                    self._pods.pop(pod["metadata"]["uid"], None)
                else:
                    self._pods[pod["metadata"]["uid"]] = pod
            if event["type"] != "DELETED":
                self._see(pod)
            if self._ended.is_set():
                return

    def _see(self, pod):
        meta, name = pod["metadata"], pod["spec"].get("nodeName", "")
        if not name.startswith(f"{self.space}-") or name in self._lost:
            return
        if meta.get("deletionTimestamp"):
            with contextlib.suppress(ApiError):
                self._cluster.delete("Pod", self.space, meta["name"], grace_seconds=0, uid=meta["uid"])
            return
        status = pod_status(pod, self._how(meta["name"]), self._address(meta["name"]))
        if differs(pod, status):
            self._write(pod, status)

    def _how(self, name):
        with self._lock:
            return next((how for start, how in reversed(self._plays) if name.startswith(start)), READY)

    def _address(self, name):
        with self._lock:
            return next((address for start, address in self._addresses.items() if name.startswith(start)), None)

    def _write(self, pod, status):
        meta = pod["metadata"]
        with contextlib.suppress(ApiError):  # gone, or changed: the watch tells of it
            patch = {"metadata": {"uid": meta["uid"]}, "status": status}
            self._cluster.patch_status("Pod", self.space, meta["name"], patch)
