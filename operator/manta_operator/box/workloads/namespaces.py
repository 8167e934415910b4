"""The namespace controller: gives new namespaces what pods expect in them, and empties one that is being deleted."""

from collections.abc import Iterable

from manta_operator.box.cluster import ApiError, Cluster, Event
from manta_operator.box.workloads.objects import Key, is_deleting

_LEAVE = frozenset({"Event"})  # gone with the namespace, not worth a delete each


class NamespaceController:
    """Empties a namespace that is being deleted, then lets the namespace itself go. Keys are (None, namespace)."""

    name = "namespace"
    kinds = ("*",)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._content: dict[str, set[tuple[str, str]]] = {}

    def keys(self, event: Event) -> Iterable[Key]:
        """The namespace itself, or the one an object lives in."""
        meta, kind = event.object["metadata"], event.object["kind"]
        if kind == "Namespace":
            return [(None, meta["name"])]
        namespace = meta.get("namespace")
        if not namespace:
            return []
        content = self._content.setdefault(namespace, set())
        if event.type == "DELETED":
            content.discard((kind, meta["name"]))
            return [(None, namespace)]
        content.add((kind, meta["name"]))
        return [(None, namespace)] if event.type == "ADDED" else []

    def reconcile(self, key: Key) -> float | None:
        """One pass over one namespace."""
        _, name = key
        namespace = self._cluster.find("Namespace", None, name)
        if namespace is None:
            return None
        if not is_deleting(namespace):
            self._welcome(name)
            return None
        left = sorted(item for item in self._content.get(name, ()) if item[0] not in _LEAVE)
        for kind, child in left:
            self._delete(kind, name, child)
        if left:
            return 2.0
        self._cluster.patch("Namespace", None, name, {"spec": {"finalizers": []}})
        self._content.pop(name, None)
        return None

    def _welcome(self, namespace: str) -> None:
        if self._cluster.find("ServiceAccount", namespace, "default") is None:
            meta = {"name": "default", "namespace": namespace}
            self._cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})

    def _delete(self, kind: str, namespace: str, name: str) -> None:
        try:
            obj = self._cluster.find(kind, namespace, name)
            if obj is None:
                self._content[namespace].discard((kind, name))
            elif not is_deleting(obj):
                self._cluster.delete(kind, namespace, name)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
