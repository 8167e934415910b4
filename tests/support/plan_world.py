"""A small world to walk through with plans: pods start, crash, blink, hang and drain, nodes get lost, views are stale.

Every tick is ten seconds. The operator of this world sees its own writes at once (as the real one does) and pods as
they were up to three ticks ago. Groups of a revision whose name begins with "bad" never serve. There may be a quota of
pods, and somebody who gates their scheduling.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from groups import condition, stamp

from manta_operator.placement.room import Room
from manta_operator.planning.choice import Choice
from manta_operator.planning.fit import Fit
from manta_operator.planning.observe import observe, slim
from manta_operator.planning.plan import Circumstances, Deadlines, Plan, Wish, plan
from manta_operator.planning.shape import Shape

TICK = 10.0
START_TICKS, DRAIN_TICKS, REVIVE_TICKS = 3, 4, 6
DEADLINES = Deadlines(startup=120.0, progress=400.0)


@dataclass
class Pod:
    uid: str
    group: str
    ordinal: int
    owner: str
    created: float
    node: str | None = None
    bound_at: float = 0.0
    engine_at: float = 0.0
    ready: bool = False
    turned: float = 0.0
    unschedulable: float | None = None
    deleted_at: float | None = None
    gone_at: float | None = None
    hangs: bool = False
    blinks_until: float = 0.0
    restarts: int = 0
    served: bool = False


@dataclass
class Group:
    uid: str
    name: str
    revision: str
    index: int
    created: float
    restart: dict[str, Any] | None = None


@dataclass
class World:
    places: dict[str, int]
    """Pods that fit, by node."""
    size: int = 1
    """Pods of a group."""
    now: float = 1_000_000.0
    groups: dict[str, Group] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    views: list[list[dict[str, Any]]] = field(default_factory=list)
    serial: int = 0
    started: int = 0
    quota: int | None = None
    """Pods that may exist."""
    gated: bool = False
    """Whether pods that have no place yet are held back from the scheduler."""

    def tick(self) -> None:
        """Let ten seconds pass: kubelets, scheduler, StatefulSet controller and garbage collection do their part."""
        self.now += TICK
        for pod in list(self.pods.values()):
            owner = self.groups.get(pod.group)
            if owner is None or owner.uid != pod.owner:
                self.delete(pod)
            if pod.gone_at is not None and self.now >= pod.gone_at and pod.node not in self.lost:
                del self.pods[pod.uid]
        for group in self.groups.values():
            names = {(pod.group, pod.ordinal) for pod in self.pods.values()}
            for ordinal in range(self.size):
                if (group.name, ordinal) not in names and (self.quota is None or len(self.pods) < self.quota):
                    self.serial += 1
                    uid = f"p{self.serial}"
                    self.pods[uid] = Pod(uid, group.name, ordinal, group.uid, self.now)
        for pod in self.pods.values():
            self._live(pod)
        self.views.append([self._body(pod) for pod in self.pods.values()])

    def delete(self, pod: Pod) -> None:
        if pod.deleted_at is None:
            pod.deleted_at = self.now
            pod.gone_at = self.now + (DRAIN_TICKS * TICK if pod.node and pod.ready else TICK)

    def _live(self, pod: Pod) -> None:
        if pod.deleted_at is not None:
            return
        if pod.node is None:
            free = (name for name in sorted(self.places) if name not in self.lost and self.free(name) > 0)
            pod.node = None if self.gated else next(free, None)
            pod.unschedulable = None if pod.node else pod.unschedulable or self.now
            pod.bound_at = pod.engine_at = pod.turned = self.now
            return
        able = pod.node not in self.lost and not pod.hangs and self.now >= pod.blinks_until
        ready = able and self.now >= pod.engine_at + START_TICKS * TICK and "bad" not in pod.group
        if ready != pod.ready:
            pod.ready, pod.turned, pod.served = ready, self.now, pod.served or ready

    def free(self, node: str) -> int:
        return self.places[node] - sum(pod.node == node for pod in self.pods.values())

    def room(self) -> Room:
        places = sum(max(0, self.free(node)) for node in self.places if node not in self.lost)
        return Room(places // self.size, f"{places} places are free")

    def draining(self, revision: str, lag: int) -> set[str]:
        """Groups of other revisions whose pods are still there, on nodes that are too, as far as the view showed."""
        live = {group.uid for group in self.groups.values()}
        seen = {pod["metadata"]["uid"] for pod in self.views[-1 - min(lag, len(self.views) - 1)]}
        left = (pod for pod in self.pods.values() if pod.owner not in live and pod.node not in self.lost)
        return {pod.group for pod in left if f"-{revision}-" not in pod.group and pod.uid in seen}

    def may_come_back(self) -> set[str]:
        """Groups that served and stopped so lately that their engines may just be starting again."""
        found = set()
        for group in self.groups.values():
            pods = [pod for pod in self.pods.values() if pod.owner == group.uid]
            absent = [pod for pod in pods if not pod.ready]
            well = len(pods) == self.size and all(pod.served and pod.node not in self.lost for pod in pods)
            if well and all(self.now < pod.turned + DEADLINES.startup for pod in absent):
                found.add(group.name)
        return found

    def serving(self, revision: str | None = None) -> int:
        """Groups that serve in truth, whatever anybody saw."""
        return sum(
            sum(pod.ready and pod.deleted_at is None and pod.owner == group.uid for pod in self.pods.values())
            == self.size
            for group in self.groups.values()
            if revision in (None, group.revision)
        )

    def crash(self, pod: Pod) -> None:
        pod.engine_at, pod.restarts, pod.blinks_until = self.now, pod.restarts + 1, 0.0

    def step(self, revision: str, wish: Wish, lag: int, *, knows_room: bool = True) -> Plan:
        """Let the operator make one pass, as the controller does."""
        view = self.views[-1 - min(lag, len(self.views) - 1)]
        sets = [slim("StatefulSet", self._set(group)) for group in self.groups.values()]
        seen = observe(sets, [slim("Pod", pod) for pod in view], [], self.now, frozenset(self.lost))
        made = self._plan(revision, wish, seen, Circumstances())
        if made.wants:
            loads = dict.fromkeys(self.groups, 1) if "loads" in made.wants else None
            room = self.room() if "room" in made.wants and knows_room else None
            made = self._plan(revision, wish, seen, Circumstances(room, loads))
        self._act(revision, made)
        return made

    def _plan(self, revision: str, wish: Wish, seen: Any, circumstances: Circumstances) -> Plan:
        choice = Choice(Shape(1, self.size, 1, "uni"), Fit("True", ""))
        made = plan("demo", wish, DEADLINES, choice, revision, seen, circumstances)
        assert made == plan("demo", wish, DEADLINES, choice, revision, seen, circumstances)
        return made

    def _act(self, revision: str, made: Plan) -> None:
        for each in made.groups:
            if each.name not in self.groups:
                self.serial += 1
                self.started += 1
                self.groups[each.name] = Group(f"g{self.serial}", each.name, revision, each.index, self.now)
        for group in made.prune:
            if group.name in self.groups and self.groups[group.name].uid == group.uid:
                del self.groups[group.name]
        for note in made.restart:
            if note.group in self.groups and self.groups[note.group].uid == note.uid:
                self.groups[note.group].restart = {"count": note.count, "at": stamp(note.at)}
        for _, uid in made.evict:
            if uid in self.pods:
                self.delete(self.pods[uid])

    def _set(self, group: Group) -> dict[str, Any]:
        labels = {"manta.dev/revision": group.revision, "manta.dev/replica": str(group.index)}
        metadata = {"name": group.name, "uid": group.uid, "creationTimestamp": stamp(group.created), "labels": labels}
        if group.restart:
            text = json.dumps(group.restart)
            metadata["annotations"] = {"manta.dev/restart": text}
        return {"metadata": metadata, "spec": {"replicas": self.size}}

    def _body(self, pod: Pod) -> dict[str, Any]:
        revision = pod.group.split("-")[1]
        owner = {"kind": "StatefulSet", "name": pod.group, "uid": pod.owner, "controller": True}
        metadata = {
            "name": f"{pod.group}-{pod.ordinal}", "uid": pod.uid, "labels": {"manta.dev/revision": revision},
            "creationTimestamp": stamp(pod.created), "ownerReferences": [owner],
        }  # fmt: skip
        if pod.gone_at is not None:
            metadata["deletionTimestamp"] = stamp(pod.gone_at)
        if pod.node is None:
            why = "SchedulingGated" if self.gated else "Unschedulable"
            waits = condition("PodScheduled", "False", pod.unschedulable or 0, reason=why, message="full")
            return {"metadata": metadata, "spec": {}, "status": {"phase": "Pending", "conditions": [waits]}}
        running = {"running": {"startedAt": stamp(pod.engine_at)}}
        return {
            "metadata": metadata,
            "spec": {"nodeName": pod.node},
            "status": {
                "phase": "Running",
                "startTime": stamp(pod.bound_at),
                "conditions": [condition("Ready", "True" if pod.ready else "False", pod.turned)],
                "containerStatuses": [{"name": "engine", "restartCount": pod.restarts, "state": running}],
            },
        }
