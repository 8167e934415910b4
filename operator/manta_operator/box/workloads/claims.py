"""Which objects belong to a controller: those it controls, and orphans its selector matches, which it adopts."""

from manta_operator.box.cluster import ApiError, Cluster, Object
from manta_operator.box.workloads.objects import (
    controller_of,
    is_controlled_by,
    is_deleting,
    matches_labels,
    owner_reference,
)


def claim(cluster: Cluster, owner: Object, kind: str) -> list[Object]:
    """Objects of this kind in the owner's namespace that it controls, oldest first; matching orphans are adopted."""
    selector = owner["spec"].get("selector")
    claimed = []
    for obj in cluster.list(kind, owner["metadata"]["namespace"]):
        if is_controlled_by(obj, owner):
            claimed.append(obj)
        elif (
            is_orphan(obj) and not is_deleting(owner) and matches_labels(selector, obj["metadata"].get("labels") or {})
        ):
            claimed.append(_adopt(cluster, owner, kind, obj))
    return claimed


def is_orphan(obj: Object) -> bool:
    """Whether nobody controls the object and it is here to stay."""
    return controller_of(obj) is None and not is_deleting(obj)


def _adopt(cluster: Cluster, owner: Object, kind: str, obj: Object) -> Object:
    references = [*(obj["metadata"].get("ownerReferences") or []), owner_reference(owner)]
    meta = obj["metadata"]
    patch = {"metadata": {"ownerReferences": references, "uid": meta["uid"]}}
    return cluster.patch(kind, meta["namespace"], meta["name"], patch)


def delete_pod(cluster: Cluster, pod: Object) -> None:
    """Ask this very pod to go; one that is gone already is fine."""
    meta = pod["metadata"]
    try:
        cluster.delete("Pod", meta["namespace"], meta["name"], uid=meta["uid"])
    except ApiError as error:
        if error.reason not in {"NotFound", "Conflict"}:
            raise


def owner_keys(obj: Object, kind: str) -> list[tuple[str | None, str]]:
    """The key of the controller of obj, if it is of this kind."""
    reference = controller_of(obj)
    if reference is None or reference["kind"] != kind:
        return []
    return [(obj["metadata"].get("namespace"), reference["name"])]
