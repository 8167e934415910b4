"""The garbage collector: objects whose owners are gone go too; foreground deletion, orphaning. `decide` is pure.

The API server only sets `foregroundDeletion` or `orphan` on what is deleted that way; everything after is done
here. Kinds are not
listed: it watches everything the API server stores, custom resources included.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from manta_operator.box.cluster import ApiError, Cluster, Event, Object
from manta_operator.box.workloads.objects import Key, is_deleting

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True)
class Node:
    """What the collector remembers of one object."""

    uid: str
    kind: str
    namespace: str | None
    name: str
    owners: tuple[Mapping[str, object], ...]
    deleting: bool
    finalizers: tuple[str, ...]


@dataclass(frozen=True)
class Remove:
    """Delete the object (uid); foreground: hold it until its own dependents have gone."""

    uid: str
    foreground: bool = False


@dataclass(frozen=True)
class Disown:
    """Take owner `owner` out of the references of object `uid`."""

    uid: str
    owner: str


@dataclass(frozen=True)
class Finish:
    """Take this finalizer off the object (uid)."""

    uid: str
    finalizer: str


Action = Remove | Disown | Finish


def node_of(obj: Object) -> Node:
    """The part of an object that matters here."""
    meta = obj["metadata"]
    return Node(
        uid=meta["uid"],
        kind=obj["kind"],
        namespace=meta.get("namespace"),
        name=meta["name"],
        owners=tuple(meta.get("ownerReferences") or ()),
        deleting=is_deleting(obj),
        finalizers=tuple(meta.get("finalizers") or ()),
    )


def dependents(uid: str, graph: Mapping[str, Node]) -> list[Node]:
    """The objects that name this uid as an owner."""
    return [node for node in graph.values() if any(owner["uid"] == uid for owner in node.owners)]


def decide(node: Node, graph: Mapping[str, Node]) -> list[Action]:
    """What to do about one object. graph: by uid, every object there is."""
    if node.deleting:
        return _decide_leaving(node, graph)
    return _decide_staying(node, graph)


def _decide_leaving(node: Node, graph: Mapping[str, Node]) -> list[Action]:
    children = dependents(node.uid, graph)
    if ORPHAN in node.finalizers:
        freed: list[Action] = [Disown(child.uid, node.uid) for child in children]
        return [*freed, Finish(node.uid, ORPHAN)]
    if FOREGROUND in node.finalizers and not any(_blocks(child, node) for child in children):
        return [Finish(node.uid, FOREGROUND)]
    return []


def _blocks(child: Node, owner: Node) -> bool:
    return any(ref["uid"] == owner.uid and ref.get("blockOwnerDeletion") for ref in child.owners)


def _decide_staying(node: Node, graph: Mapping[str, Node]) -> list[Action]:
    if not node.owners:
        return []
    present = [graph.get(str(owner["uid"])) for owner in node.owners]
    waiting = [owner for owner in present if owner and owner.deleting and FOREGROUND in owner.finalizers]
    leaving = {owner.uid for owner in waiting}
    if any(owner is not None and owner.uid not in leaving for owner in present):
        stale = [str(ref["uid"]) for ref in node.owners if str(ref["uid"]) not in graph or ref["uid"] in leaving]
        return [Disown(node.uid, uid) for uid in stale]
    has_children = bool(dependents(node.uid, graph))
    return [Remove(node.uid, foreground=bool(waiting) and has_children)]


class GarbageCollector:
    """Keeps the ownership graph from the watch and carries out `decide`. Keys are uids."""

    name = "garbage-collector"
    kinds = ("*",)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._graph: dict[str, Node] = {}
        self._gone: set[str] = set()

    def keys(self, event: Event) -> Iterable[Key]:
        """The object, its dependents and its owners."""
        if "uid" not in event.object.get("metadata", {}) or event.object["kind"] == "Event":
            return []
        node = node_of(event.object)
        if event.type == "DELETED":
            self._graph.pop(node.uid, None)
            self._gone.add(node.uid)
        else:
            self._graph[node.uid] = node
        around: Sequence[str] = [child.uid for child in dependents(node.uid, self._graph)]
        return [(None, uid) for uid in (node.uid, *around, *(str(ref["uid"]) for ref in node.owners))]

    def reconcile(self, key: Key) -> float | None:
        """Judge one object again; an owner never seen is looked up first, since watches of two kinds may cross."""
        node = self._graph.get(key[1])
        if node is None:
            return None
        unseen = [ref for ref in node.owners if ref["uid"] not in self._graph and ref["uid"] not in self._gone]
        if any(self._exists(ref, node.namespace) for ref in unseen):
            return 1.0
        for action in decide(node, self._graph):
            try:
                self._do(action)
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
        return None

    def _exists(self, ref: Mapping[str, object], namespace: str | None) -> bool:
        try:
            owners = self._cluster.list(str(ref["kind"]))
        except ApiError:
            return True  # a kind nobody serves (yet): its object may exist, so nothing is deleted on its account
        return any(
            owner["metadata"]["uid"] == ref["uid"] and owner["metadata"].get("namespace") in (None, namespace)
            for owner in owners
        )

    def _do(self, action: Action) -> None:
        node = self._graph.get(action.uid)
        if node is None:
            return
        match action:
            case Remove(foreground=foreground):
                if foreground:
                    self._patch(node, {"finalizers": sorted({*node.finalizers, FOREGROUND})})
                self._cluster.delete(node.kind, node.namespace, node.name, uid=node.uid)
            case Disown(owner=owner):
                fresh = self._cluster.get(node.kind, node.namespace, node.name)
                references = fresh["metadata"].get("ownerReferences") or []
                self._patch(node, {"ownerReferences": [ref for ref in references if ref["uid"] != owner]})
            case Finish(finalizer=finalizer):
                fresh = self._cluster.get(node.kind, node.namespace, node.name)
                finalizers = fresh["metadata"].get("finalizers") or []
                self._patch(node, {"finalizers": [item for item in finalizers if item != finalizer]})

    def _patch(self, node: Node, metadata: Object) -> None:
        patch = {"metadata": {**metadata, "uid": node.uid}}
        self._cluster.patch(node.kind, node.namespace, node.name, patch)
