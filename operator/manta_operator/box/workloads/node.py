"""What the machine has, and the Node object that says so: the box's one node."""

import os
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import psutil

from manta_operator.box.cluster import Cluster, Object
from manta_operator.box.workloads.objects import timestamp

NODE_NAME = "box"
MAX_PODS = 110
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUP_FILES = (  # limit, usage, statistics and what these call file pages that can be dropped: version 2, version 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


@dataclass(frozen=True)
class NodeResources:
    """What pods may ask for in sum. cpu in cores, memory in bytes; extended: for example {"nvidia.com/gpu": 2}."""

    cpu: float
    memory: int
    pods: int = MAX_PODS
    extended: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = NODE_NAME

    def allocatable(self) -> dict[str, Fraction]:
        """By resource name: cores, bytes, pieces."""
        base = {"cpu": Fraction(str(self.cpu)), "memory": Fraction(self.memory), "pods": Fraction(self.pods)}
        return {**base, **{name: Fraction(count) for name, count in self.extended.items()}}


def detect() -> NodeResources:
    """What this machine can give now: usable cores, memory available at this moment, NVIDIA GPUs."""
    gpus = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in Path("/dev").glob("nvidia*"))
    return NodeResources(
        cpu=float(len(os.sched_getaffinity(0))),
        memory=available_memory(),
        extended={"nvidia.com/gpu": gpus} if gpus else {},
    )


def available_memory(cgroups: Path = _CGROUPS) -> int:
    """Bytes this machine, and the cgroup we are in, have left at this moment; never negative."""
    available = int(psutil.virtual_memory().available)
    for limit, usage, statistics, droppable in _CGROUP_FILES:
        try:
            left = int((cgroups / limit).read_text()) - int((cgroups / usage).read_text())
            found = dict(line.split() for line in (cgroups / statistics).read_text().splitlines())
        except (OSError, ValueError):  # absent, or "max"
            continue
        # Model files that were read count as used, but give way: a real kubelet reckons so too.
        available = min(available, left + int(found.get(droppable, 0)))
    return max(available, 0)


def node_object(resources: NodeResources) -> Object:
    """The Node without its status (the API server keeps those apart)."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": resources.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "node.kubernetes.io/instance-type": "manta-box",
        **resources.labels,
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": resources.name, "labels": labels}, "spec": {}}


def node_status(resources: NodeResources, now: float) -> Object:
    """Capacity, allocatable and the conditions a healthy node has."""
    amounts = {name: _quantity(name, amount) for name, amount in resources.allocatable().items()}
    stamp = timestamp(now)
    ready = ("Ready", "True", "KubeletReady", "the box's kubelet is running pods as processes of this machine")
    calm = [(f"{kind}Pressure", "False", f"KubeletHasNo{kind}Pressure", "") for kind in ("Memory", "Disk", "PID")]
    return {
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": [
            {
                "type": kind,
                "status": state,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": stamp,
                "lastTransitionTime": stamp,
            }
            for kind, state, reason, message in (*calm, ready)
        ],
        "nodeInfo": _node_info(),
    }


def _quantity(name: str, amount: Fraction) -> str:
    if name == "memory":
        return f"{int(amount) // 1024}Ki"
    return str(amount) if amount.denominator == 1 else f"{int(amount * 1000)}m"


def _node_info() -> dict[str, str]:
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "operatingSystem": "linux",
        "osImage": "Manta box",
        "kernelVersion": platform.release(),
        "containerRuntimeVersion": "processes://1",
        "kubeletVersion": "v1.36.0+manta.box",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }


def register(cluster: Cluster, resources: NodeResources) -> None:
    """Create the Node, or bring one from an earlier start up to date."""
    now = time.time()
    node = node_object(resources)
    if cluster.find("Node", None, resources.name) is None:
        cluster.create(node)
    else:
        cluster.patch("Node", None, resources.name, {"metadata": {"labels": node["metadata"]["labels"]}})
    cluster.patch_status("Node", None, resources.name, {"status": node_status(resources, now)})
