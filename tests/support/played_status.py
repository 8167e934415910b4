"""What a played node and a played pod say of themselves: the status a kubelet would write. Pure."""

import hashlib
from datetime import UTC, datetime, timedelta

PLAYED = "manta.dev/played"
FOR = "manta.dev/played-for"
READY, HELD, UNREADY, CRASHING = "ready", "held", "unready", "crashing"
CRASH = "played: the engine said CUDA out of memory"


def now(ago=0):
    """The time, or some seconds before, as Kubernetes writes it."""
    return (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micros():
    """The time as Leases want it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def taint(space):
    """What keeps everybody else's pods off the nodes of a test."""
    return {"key": PLAYED, "value": space, "effect": "NoSchedule"}


def node(name, space, labels=None):
    """A Node that no kubelet stands behind."""
    own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    metadata = {"name": name, "labels": own | {PLAYED: "true", FOR: space} | (labels or {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [taint(space)]}}


def node_status(amounts, *, ready, since=0):
    """Conditions and amounts; a lost node is what the node lifecycle controller makes of one that is silent.

    `since` is how many seconds ago it became so.
    """
    reason = ("KubeletReady", "played") if ready else ("NodeStatusUnknown", "played: the kubelet stopped posting")
    stamp = {"lastHeartbeatTime": now(since), "lastTransitionTime": now(since)}
    told = {"type": "Ready", "status": "True" if ready else "Unknown", "reason": reason[0], "message": reason[1]}
    return {"conditions": [told | stamp], "capacity": amounts, "allocatable": amounts}


def pod_ip(pod):
    """An address of its own, in a range that EndpointSlices may hold."""
    digest = hashlib.sha256(pod["metadata"]["uid"].encode()).digest()
    return f"10.{200 + digest[0] % 50}.{digest[1]}.{1 + digest[2] % 250}"


def pod_status(pod, play, address=None):
    """The status of a bound pod that plays READY, HELD, UNREADY or CRASHING; the conditions of others are kept.

    `address`: where it is; None for one that nobody listens at.
    """
    ready, running = play == READY, play in (READY, UNREADY)
    old = {entry["type"]: entry for entry in (pod.get("status") or {}).get("conditions") or ()}
    wanted = {"PodScheduled": True, "Initialized": play != HELD, "ContainersReady": ready, "Ready": ready}
    for kind, holds in wanted.items():
        status = "True" if holds else "False"
        if old.get(kind, {}).get("status") != status:
            old[kind] = {"type": kind, "status": status, "lastTransitionTime": now()}
    containers = [_container(each, play) for each in pod["spec"]["containers"]]
    _keep_times(containers, (pod.get("status") or {}).get("containerStatuses") or ())
    status = {"phase": "Pending" if play == HELD else "Running", "conditions": list(old.values())}
    status |= {"containerStatuses": containers}
    if running or play == CRASHING:
        address = address or pod_ip(pod)
        status |= {"podIP": address, "podIPs": [{"ip": address}], "startTime": pod["metadata"]["creationTimestamp"]}
    return status


def differs(pod, status):
    """Whether the pod does not say so yet."""
    stored = pod.get("status") or {}
    return any(stored.get(key) != value for key, value in status.items())


def _container(container, play):
    state = {"waiting": {"reason": "ContainerCreating"}}
    if play in (READY, UNREADY):
        state = {"running": {"startedAt": now()}}
    elif play == CRASHING:
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}
    told = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": play == READY,
        "started": play in (READY, UNREADY),
        "restartCount": 5 if play == CRASHING else 0,
        "state": state,
        "lastState": {},
    }
    if play == CRASHING:
        ended = {"exitCode": 1, "reason": "Error", "message": CRASH, "startedAt": now(), "finishedAt": now()}
        told["lastState"] = {"terminated": ended}
    return told


def _keep_times(new, old):
    """A container that does what it did before has done so since then."""
    before = {each["name"]: each for each in old}
    for each in new:
        for part in ("state", "lastState"):
            known = before.get(each["name"], {}).get(part) or {}
            if each[part].keys() == known.keys() and all(
                each[part][kind].keys() == known[kind].keys() for kind in each[part]
            ):
                each[part] = known
