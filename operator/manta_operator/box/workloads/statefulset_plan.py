"""What a StatefulSet needs next: pure decisions over its pods, as Kubernetes' own controller makes them.

Ordinals [start, start + replicas) are wanted, the rest is condemned. OrderedReady takes one step at a time and
waits for health; Parallel
creates and deletes freely, but still updates one pod at a time. The loop around this is statefulset.py.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manta_operator.box.cluster import Object
from manta_operator.box.workloads.objects import (
    TERMINAL_PHASES,
    available_at,
    is_deleting,
    is_ready,
    owner_reference,
    phase,
)

REVISION_LABEL = "controller-revision-hash"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"


@dataclass(frozen=True)
class Create:
    """Make the pod of this ordinal from the template of this revision."""

    ordinal: int
    revision: str


@dataclass(frozen=True)
class Delete:
    """Ask this pod to go."""

    name: str
    why: str


Action = Create | Delete


@dataclass(frozen=True)
class Revisions:
    """Names of the revision before the update and of the one the spec asks for now."""

    current: str
    update: str


def ordinal_of(sts: Object, pod: Object) -> int | None:
    """The pod's place in the set; None if its name does not belong to it."""
    found = re.fullmatch(re.escape(sts["metadata"]["name"]) + r"-(0|[1-9]\d*)", pod["metadata"]["name"])
    return int(found[1]) if found else None


def decide(sts: Object, pods: Sequence[Object], revisions: Revisions, now: float) -> list[Action]:
    """The next actions, in order; empty when there is nothing to do but wait."""
    if is_deleting(sts):
        return []
    by_ordinal = _by_ordinal(sts, pods)
    wanted = _wanted(sts)
    ordered = sts["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    actions, blocked = _fill(sts, by_ordinal, wanted, revisions, now, ordered=ordered)
    if blocked:
        return actions
    condemned = {n: pod for n, pod in by_ordinal.items() if n not in wanted}
    removals, blocked = _condemn(sts, by_ordinal, condemned, now, ordered=ordered)
    actions += removals
    if blocked or actions:
        return actions
    return _update(sts, by_ordinal, wanted, revisions, now)


def _wanted(sts: Object) -> range:
    start = int((sts["spec"].get("ordinals") or {}).get("start") or 0)
    return range(start, start + int(sts["spec"].get("replicas", 1)))


def _by_ordinal(sts: Object, pods: Sequence[Object]) -> dict[int, Object]:
    numbered = ((ordinal_of(sts, pod), pod) for pod in pods)
    return {ordinal: pod for ordinal, pod in numbered if ordinal is not None}


def _is_healthy(sts: Object, pod: Object, now: float) -> bool:
    waited = available_at(pod, int(sts["spec"].get("minReadySeconds") or 0)) <= now
    return phase(pod) == "Running" and not is_deleting(pod) and is_ready(pod) and waited


def _fill(
    sts: Object, pods: Mapping[int, Object], wanted: range, revisions: Revisions, now: float, *, ordered: bool
) -> tuple[list[Action], bool]:
    """Create what is missing and clear what has ended; True when OrderedReady must wait here."""
    actions: list[Action] = []
    for ordinal in wanted:
        pod = pods.get(ordinal)
        if pod is None:
            actions.append(Create(ordinal, _revision_for(sts, ordinal, wanted, revisions)))
        elif phase(pod) in TERMINAL_PHASES and not is_deleting(pod):
            actions.append(Delete(pod["metadata"]["name"], f"it ended ({phase(pod)}) and is made anew"))
        elif _is_healthy(sts, pod, now) or not ordered:
            continue
        if ordered:
            return actions, True
    return actions, False


def _revision_for(sts: Object, ordinal: int, wanted: range, revisions: Revisions) -> str:
    return revisions.current if ordinal < wanted.start + _partition(sts) else revisions.update


def _partition(sts: Object) -> int:
    strategy = sts["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def _condemn(
    sts: Object, pods: Mapping[int, Object], condemned: Mapping[int, Object], now: float, *, ordered: bool
) -> tuple[list[Action], bool]:
    """Remove surplus pods from the top; True when OrderedReady must wait for one to go or to get well."""
    first_unhealthy = next((n for n, pod in sorted(pods.items()) if not _is_healthy(sts, pod, now)), None)
    actions: list[Action] = []
    for ordinal in sorted(condemned, reverse=True):
        pod = condemned[ordinal]
        if is_deleting(pod):
            if ordered:
                return actions, True
            continue
        if ordered and not _is_healthy(sts, pod, now) and ordinal != first_unhealthy:
            return actions, True
        actions.append(Delete(pod["metadata"]["name"], "the set was scaled down"))
        if ordered:
            return actions, True
    return actions, False


def _update(sts: Object, pods: Mapping[int, Object], wanted: range, revisions: Revisions, now: float) -> list[Action]:
    """RollingUpdate: the highest ordinal of another revision goes, once everything above it is healthy."""
    if (sts["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") != "RollingUpdate":
        return []
    for ordinal in sorted(wanted, reverse=True):
        pod = pods.get(ordinal)
        if ordinal < wanted.start + _partition(sts) or pod is None:
            return []
        if revision_of(pod) != revisions.update and not is_deleting(pod):
            return [Delete(pod["metadata"]["name"], f"it is updated to revision {revisions.update}")]
        if not _is_healthy(sts, pod, now):
            return []
    return []


def revision_of(pod: Object) -> str:
    """The revision the pod was made from."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def status(sts: Object, pods: Sequence[Object], revisions: Revisions, now: float) -> Object:
    """The status of the set. The update ends (currentRevision moves on) when every pod is updated and ready."""
    mine = [pod for pod in pods if ordinal_of(sts, pod) is not None and phase(pod) not in TERMINAL_PHASES]
    ready = [pod for pod in mine if phase(pod) == "Running" and is_ready(pod)]
    staying = [pod for pod in mine if not is_deleting(pod)]
    updated = sum(revision_of(pod) == revisions.update for pod in staying)
    wait = int(sts["spec"].get("minReadySeconds") or 0)
    done = updated == len(mine) == len(ready) == len(_wanted(sts))
    current = revisions.update if done else revisions.current
    return {
        "observedGeneration": sts["metadata"].get("generation", 1),
        "replicas": len(mine),
        "readyReplicas": len(ready),
        "availableReplicas": sum(available_at(pod, wait) <= now for pod in ready),
        "currentReplicas": sum(revision_of(pod) == current for pod in staying),
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": revisions.update,
        "collisionCount": 0,
    }


def pod(sts: Object, template: Object, ordinal: int, revision: str) -> Object:
    """The pod of one ordinal: stable name, hostname and labels, volumes from its claims."""
    name = f"{sts['metadata']['name']}-{ordinal}"
    meta = template.get("metadata") or {}
    spec = copy.deepcopy(template["spec"])
    spec["hostname"] = name
    spec["subdomain"] = sts["spec"].get("serviceName") or ""
    templates = sts["spec"].get("volumeClaimTemplates") or []
    claimed = {claim["metadata"]["name"] for claim in templates}
    volumes = [volume for volume in spec.get("volumes") or [] if volume["name"] not in claimed]
    volumes += [{"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}} for claim in sorted(claimed)]
    if volumes:
        spec["volumes"] = volumes
    labels = {REVISION_LABEL: revision, POD_NAME_LABEL: name, POD_INDEX_LABEL: str(ordinal)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": sts["metadata"]["namespace"],
            "labels": {**(meta.get("labels") or {}), **labels},
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [owner_reference(sts)],
        },
        "spec": spec,
    }


def claims(sts: Object, ordinal: int) -> list[Object]:
    """The PersistentVolumeClaims of one ordinal; they outlive the pod and the set."""
    name = f"{sts['metadata']['name']}-{ordinal}"
    selector = (sts["spec"].get("selector") or {}).get("matchLabels") or {}
    found = []
    for template in sts["spec"].get("volumeClaimTemplates") or []:
        meta = template["metadata"]
        claim_meta = {
            "name": f"{meta['name']}-{name}",
            "namespace": sts["metadata"]["namespace"],
            "labels": {**(meta.get("labels") or {}), **selector},
        }
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim_meta}
        found.append({**claim, "spec": copy.deepcopy(template["spec"])})
    return found
