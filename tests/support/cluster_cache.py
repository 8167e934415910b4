"""Lets the box's own controllers work on an API server that has none: reads from watches, writes over HTTP.

The controllers read a lot and expect to read what they wrote, so every kind that is asked for is listed once, watched
by a thread of its own from then on, and every answer to a write is put in at once. Only namespaces that `ours` accepts
exist here, and nodes that it accepts: another run on the same server has controllers of its own.
"""

import asyncio
import copy
import logging
import threading
import time

from cluster_http import HttpCluster

from manta_operator.box.cluster import ApiError, Event

_SECONDS = 300  # of one watch
_LOOK_SECONDS = 5  # between looks for kinds that are new
_NOT_COLLECTED = {"Event", "ComponentStatus", "Binding", "LocalSubjectAccessReview"}
log = logging.getLogger(__name__)


class CachedCluster(HttpCluster):
    """`box/cluster.py`'s protocol over HTTP. Make it and iterate its watches in a running event loop."""

    def __init__(self, credentials, ours):
        super().__init__(credentials)
        self._ours = ours
        self._lock = threading.RLock()
        self._mirrors = {}

    def get(self, kind, namespace, name):
        found = self._mirror(kind).objects.get((namespace, name))
        if found is None:
            raise ApiError(404, "NotFound", f'{kind} "{name}" not found')
        return copy.deepcopy(found)

    def list(self, kind, namespace=None, selector=None):
        mirror, wanted = self._mirror(kind), (selector or {}).items()
        with self._lock:
            objects = [obj for (space, _), obj in mirror.objects.items() if namespace in (None, space)]
        objects = [obj for obj in objects if wanted <= (obj["metadata"].get("labels") or {}).items()]
        return copy.deepcopy(sorted(objects, key=lambda obj: obj["metadata"].get("creationTimestamp") or ""))

    def create(self, obj):
        return self._keep(super().create(obj))

    def update(self, obj, subresource=""):
        return self._keep(super().update(obj, subresource))

    def patch(self, kind, namespace, name, patch):
        node = patch.get("spec", {}).get("nodeName") if kind == "Pod" else None
        if node is not None:  # the box's scheduler patches; a real server binds through a subresource alone
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            self.call("POST", self.path(kind, namespace, name, "binding"), binding)
            return self._keep(super().get(kind, namespace, name))
        if kind == "Namespace" and "finalizers" in patch.get("spec", {}):  # and these go through /finalize
            fresh = super().get(kind, None, name)
            fresh["spec"]["finalizers"] = patch["spec"]["finalizers"]
            return super().update(fresh, "finalize")
        return self._keep(super().patch(kind, namespace, name, patch))

    def patch_status(self, kind, namespace, name, patch):
        return self._keep(super().patch_status(kind, namespace, name, patch))

    async def watch(self, *kinds):
        """Every object of these kinds ("*": of all that can be watched, those served later too), then each change."""
        queue, loop = asyncio.Queue(), asyncio.get_running_loop()

        def tell(event):
            loop.call_soon_threadsafe(queue.put_nowait, event)

        follower = asyncio.create_task(self._follow(kinds, tell))
        try:
            while True:
                yield await queue.get()
        finally:
            follower.cancel()

    async def _follow(self, kinds, tell):
        followed = set()
        while True:
            named = await asyncio.to_thread(self._watchable) if kinds == ("*",) else kinds
            for kind in [kind for kind in named if kind not in followed]:
                followed.add(kind)
                mirror = await asyncio.to_thread(self._mirror, kind)
                mirror.subscribe(tell)
            if kinds != ("*",):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _watchable(self):
        try:
            self._kinds = self.discover()
        except ApiError as error:
            log.warning("discovery failed: %s", error.message)
        served = self._kinds.items()
        wanted = {kind for kind, (_, _, namespaced, _) in served if namespaced or kind in ("Namespace", "Node")}
        return {kind for kind in wanted - _NOT_COLLECTED if {"list", "watch", "delete"} <= set(self._kinds[kind][3])}

    def _mirror(self, kind):
        with self._lock:
            mirror = self._mirrors.get(kind)
            if mirror is None:
                self.path(kind)
                mirror = self._mirrors[kind] = Mirror(HttpCluster(self.credentials), kind, self._ours, self._lock)
                mirror.start()
        mirror.listed.wait(30)
        return mirror

    def _keep(self, obj):
        mirror = self._mirrors.get(obj.get("kind"))
        if mirror is not None:
            mirror.keep("MODIFIED", obj)
        return obj


class Mirror:
    """The objects of one kind as a thread sees them: it lists, watches, and lists again when a watch has ended."""

    def __init__(self, http, kind, ours, lock):
        self._http, self._kind, self._ours, self._lock = http, kind, ours, lock
        self._subscribers = []
        self._gone = {}
        self.objects = {}
        self.listed = threading.Event()

    def start(self):
        threading.Thread(target=self._run, name=f"mirror-{self._kind}", daemon=True).start()

    def subscribe(self, tell):
        with self._lock:
            for obj in self.objects.values():
                tell(Event("ADDED", copy.deepcopy(obj)))
            self._subscribers.append(tell)

    def keep(self, sort, obj):
        """Take a change in, unless it is older than what is here, or not ours."""
        obj.setdefault("kind", self._kind)
        meta = obj["metadata"]
        if not self._ours(obj):
            return
        key, version = (meta.get("namespace"), meta["name"]), int(meta["resourceVersion"])
        with self._lock:
            old = self.objects.get(key)
            known = int(old["metadata"]["resourceVersion"]) if old else self._gone.get(meta["uid"], 0)
            if version <= known:
                return
            if sort == "DELETED":
                self._gone[meta["uid"]] = version
                self.objects.pop(key, None)
            else:
                self.objects[key] = obj
            told = Event("DELETED" if sort == "DELETED" else "MODIFIED" if old else "ADDED", obj)
            for tell in self._subscribers:
                tell(Event(told.type, copy.deepcopy(told.object)))

    def _run(self):
        while True:
            try:
                self._watch(self._list())
            except ApiError as error:
                log.debug("%s: %s", self._kind, error.message)
                time.sleep(0.5)

    def _list(self):
        path = self._http.path(self._kind)
        listed = self._http.call("GET", path)
        version = listed["metadata"]["resourceVersion"]
        seen = set()
        for item in listed["items"]:
            obj = {"apiVersion": listed["apiVersion"], "kind": self._kind} | item
            seen.add(obj["metadata"]["uid"])
            self.keep("MODIFIED", obj)
        with self._lock:
            lost = [obj for obj in self.objects.values() if obj["metadata"]["uid"] not in seen]
        for obj in lost:
            if int(obj["metadata"]["resourceVersion"]) <= int(version):
                self.keep("DELETED", obj | {"metadata": obj["metadata"] | {"resourceVersion": version}})
        self.listed.set()
        return version

    def _watch(self, version):
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query["timeoutSeconds"] = str(_SECONDS)
        for event in self._http.stream(self._http.path(self._kind), query, _SECONDS + 30):
            if event["type"] == "ERROR":
                return
            if event["type"] != "BOOKMARK":
                self.keep(event["type"], event["object"])
