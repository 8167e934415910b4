"""One LLMDeployment and its reconciler, without network and processes: for tests of single passes.

The box's API server holds the objects; `Direct` stands where the HTTP client does. The store is filled by hand, so a
test decides what the operator has heard of.
"""

import asyncio
from collections import Counter

from msgspec import json
from served_kind import serve_llmdeployments

from manta_operator.box.apiserver.server import ApiServer
from manta_operator.controller.deployments import Deployments
from manta_operator.controller.errors import Conflict, Missing
from manta_operator.controller.facts_reader import FactsReader
from manta_operator.controller.facts_sources import Sources
from manta_operator.controller.kinds import CHILD_KINDS, OPTIONAL
from manta_operator.controller.reconcile import Reconciler
from manta_operator.controller.rhythm import Rhythm
from manta_operator.controller.store import Store

KEY = ("default", "demo")
SPEC = {"model": {"uri": "hf://org/model"}, "accelerator": {"type": "cpu"}}
BUILTIN = [each for each in CHILD_KINDS if not each.optional]


class Direct:
    """KubeClient's calls on an in-process cluster; counts writes and reads, and fails where it is told to."""

    def __init__(self):
        server = ApiServer(token="t", service_addresses=(f"127.2.0.{n}" for n in range(1, 200)))
        serve_llmdeployments(server)
        self.cluster = server.cluster
        self.writes, self.reads = Counter(), Counter()
        self.refuse, self.sent, self.unserved = {}, [], set()
        self.applied = {}
        self.events = []

    async def serves(self, api_version, kind):
        return kind not in self.unserved

    async def get(self, api_version, kind, namespace, name):
        self.reads[f"get {kind}"] += 1
        return None if kind in self.unserved else self.cluster.find(kind, namespace, name)

    async def list(self, api_version, kind, namespace=None, selector=None):
        self.reads[f"list {kind}"] += 1
        if kind in self.refuse:
            raise self.refuse[kind]
        return self.cluster.list(kind, namespace)

    async def pages(self, api_version, kind, namespace=None, selector=None):
        yield await self.list(api_version, kind, namespace, selector), "1"

    async def names_of(self, api_version, kind, namespace, selector):
        self._check(kind)
        if "list the names" in str(self.refuse.get(kind)):
            raise self.refuse[kind]
        self.reads[f"names of {kind}"] += 1
        ours = "app.kubernetes.io/managed-by"
        bodies = self.cluster.list(kind, namespace)
        return frozenset(
            each["metadata"]["name"] for each in bodies if (each["metadata"].get("labels") or {}).get(ours) != "manta"
        )

    def _check(self, kind):
        if kind in OPTIONAL:
            raise Missing(f"the API server does not serve {kind}")

    async def apply(self, obj, subresource=None, manager="manta", *, force=True):
        kind, name, namespace = obj["kind"], obj["metadata"]["name"], obj["metadata"]["namespace"]
        json.encode(obj)  # as KubeClient does: what has no encoding is not written
        if kind in self.refuse and not subresource:
            raise self.refuse[kind]
        self.writes[kind if not subresource else "status"] += 1
        self.sent.append(("apply", manager, obj))
        live = self.cluster.find(kind, namespace, name)
        uid = obj["metadata"].get("uid")
        if uid is not None and (live is None or live["metadata"]["uid"] != uid):
            raise Conflict(f"apply {kind}: another uid")
        place = (kind, namespace, name, subresource, manager)
        patch = dropped(self.applied.get(place, {}), obj)
        self.applied[place] = obj
        if subresource:
            return self.cluster.patch_status(kind, namespace, name, {"status": patch["status"]})
        return self.cluster.create(obj) if live is None else self.cluster.patch(kind, namespace, name, patch)

    async def merge(self, obj):
        if obj["kind"] in self.refuse:
            raise self.refuse[obj["kind"]]
        self.writes[f"merge {obj['kind']}"] += 1
        return self.cluster.patch(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"], obj)

    async def create(self, obj):
        if obj["kind"] == "Event":
            self.events.append(obj)
            return True
        if obj["kind"] in self.refuse:
            raise self.refuse[obj["kind"]]
        self.writes[f"create {obj['kind']}"] += 1
        if self.cluster.find(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]):
            return False
        self.cluster.create(obj)
        return True

    async def delete(self, api_version, kind, namespace, name, uid):
        self.writes[f"delete {kind}"] += 1
        self.sent.append(("delete", name, uid))
        self.cluster.delete(kind, namespace, name, uid=uid)


def dropped(before, after):
    """Return `after` with null for what `before` had besides: as a merge patch it does what an apply of it would."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    return {name: dropped(before.get(name), after[name]) if name in after else None for name in {**after, **before}}


class OneDeployment:
    """`demo` in a cluster of its own. `woken` lists the keys that the store would have woken."""

    def __init__(self, facts=lambda _: None, resync_seconds=600.0):
        self.client = Direct()
        self.cluster = self.client.cluster
        self.woken = []
        self.store = Store(self.woken.append, (None,))
        self.deployments = Deployments()
        self.reconciler = Reconciler(self.client, self.store, Sources(FactsReader(facts)), Rhythm(resync_seconds))
        metadata = {"name": "demo", "namespace": "default"}
        body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": SPEC}
        self.cluster.create(body)

    def hear(self):
        """Let the watches deliver everything."""
        for each in CHILD_KINDS:
            if each.optional:
                self.store.unseen((each.kind, None), None)
        for each in BUILTIN:
            bodies = self.cluster.list(each.kind, None, {"app.kubernetes.io/managed-by": "manta"})
            for body in bodies:
                self.store.put(each.kind, body)
            self.store.listed((each.kind, None), {body["metadata"]["uid"] for body in bodies}, 1 << 62)
        self.see()

    def see(self):
        """Let the watch deliver the LLMDeployment."""
        body = self.cluster.find("LLMDeployment", *KEY)
        return self.deployments.see(body) if body else self.deployments.get(KEY)

    async def run(self, *, hear=True):
        """Make one pass, after the watches have delivered everything; `writes` and `reads` are its own."""
        if hear:
            self.hear()
        self.client.writes.clear()
        self.client.reads.clear()
        entry = self.deployments.get(KEY)
        await self.reconciler.prepare(entry)
        while (outcome := await self.reconciler.run(entry)).until is not None:
            await asyncio.wait({outcome.until})
        return outcome

    async def settle(self):
        """Make passes until one writes nothing."""
        for _ in range(5):
            await self.run()
            if not self.client.writes:
                return
        raise AssertionError(f"it does not come to rest: {self.client.writes}")

    def pod(self, group, **status):
        """Make the first pod of a group (its StatefulSet), or give it another status; by default it serves."""
        name = f"{group['metadata']['name']}-0"
        if self.cluster.find("Pod", "default", name) is None:
            owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": group["metadata"]["name"]}
            metadata = {"name": name, "namespace": "default"} | group["spec"]["template"]["metadata"]
            metadata["ownerReferences"] = [owner | {"uid": group["metadata"]["uid"], "controller": True}]
            spec = group["spec"]["template"]["spec"] | {"nodeName": "n"}
            self.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
        serves = {"phase": "Running", "startTime": "2020-01-01T00:00:00Z", "conditions": [ready]}
        return self.cluster.patch_status("Pod", "default", name, {"status": status or serves})

    def groups(self):
        """The StatefulSets, by name."""
        return sorted(self.cluster.list("StatefulSet", "default"), key=lambda each: each["metadata"]["name"])

    def change(self, **spec):
        """Change the spec."""
        self.cluster.patch("LLMDeployment", *KEY, {"spec": spec})

    def condition(self, kind):
        """One condition of the status."""
        entries = self.cluster.get("LLMDeployment", *KEY)["status"]["conditions"]
        return next(entry for entry in entries if entry["type"] == kind)
