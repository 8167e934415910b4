"""What the cluster has, as the plan needs to see it: the values that `observe` makes of child bodies. Pure.

All times are epoch seconds, as the API server and the kubelets wrote them.
"""

from dataclasses import dataclass

from manta_operator.api import names

SAME_MOMENT_SECONDS = 5.0
"""A kubelet says that a pod is not ready as it takes it; Kubernetes writes times in whole seconds."""
SUSPICIOUS_SECONDS = 60.0
"""A pod that has not been ready for this long may be on a node that is lost."""
REPLACED_SECONDS = 60.0
"""A pod that is so much younger than its group has replaced one."""


@dataclass(frozen=True)
class Fetch:
    """How far one pod is: bytes, bytes a second, seconds (None: unknown), and whom it waits for, in words."""

    state: str
    bytes: int = 0
    total: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    waiting_for: str = ""

    @property
    def share(self) -> float:
        """Part of the bytes that is there, 0 to 1; 0 while it is not known how many there are."""
        return min(1.0, self.bytes / self.total) if self.total else 0.0


@dataclass(frozen=True)
class EngineEnd:
    """How the engine container of a pod ended last: with which code, for what the kubelet knows, and its last words."""

    at: float
    code: int
    reason: str
    said: str


@dataclass(frozen=True)
class ObservedPod:
    """One engine pod and why it is not ready, in its own words."""

    name: str
    group: str
    ready: bool
    problem: str | None
    uid: str = ""
    running: bool = False
    """Its containers have started and it has not ended (phase Running)."""
    created: float = 0.0
    started: float | None = None
    """When the kubelet took it."""
    engine_started: float | None = None
    """When the youngest of its containers started; None while one does not run."""
    node: str | None = None
    deleting: bool = False
    lost: bool = False
    """Its node is lost, or it should have ended long ago: nothing will become of it."""
    lost_at: float | None = None
    """When a pod that is being deleted will be given up."""
    restarts: int = 0
    """Restarts of the container that restarted most often, but for init containers that are done."""
    ready_since: float | None = None
    unready_since: float | None = None
    """When it stopped being ready, or when the kubelet first said that it is not; None while it is ready."""
    unschedulable_since: float | None = None
    fetching: bool = False
    """Its init container fetches the model now."""
    fetch: Fetch | None = None
    """How far that is; None if it could not be asked."""
    initialized: float | None = None
    """When its init containers had done their work: the weights are there."""
    end: EngineEnd | None = None
    """How its engine ended last; None while it is the first."""
    helper_ended: int | None = None
    """How often the container that fetches adapters has ended, where its engine is ready and only that one is not."""

    @property
    def served(self) -> bool:
        """Whether it is not ready now but was before."""
        began = self.started if self.started is not None else self.created
        return self.unready_since is not None and self.unready_since > began + SAME_MOMENT_SECONDS

    @property
    def only_unready(self) -> bool:
        """Whether the very processes that served are still there, and may serve again at any moment."""
        return self.served and self.engine_started is not None and self.engine_started <= (self.unready_since or 0.0)


@dataclass(frozen=True)
class GroupRestart:
    """The annotation `manta.dev/restart`: how often the group was restarted; pods created before `at` are to go."""

    count: int
    at: float


@dataclass(frozen=True)
class ObservedGroup:
    """One replica: the StatefulSet, its pods, and how many of them are ready."""

    name: str
    uid: str
    revision: str
    index: int
    pods: int
    """How many pods it should have; `members` are those that exist."""
    ready_pods: int
    created: float = 0.0
    restart: GroupRestart | None = None
    members: tuple[ObservedPod, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the whole group serves."""
        return self.pods > 0 and self.ready_pods >= self.pods

    @property
    def ready_since(self) -> float:
        """Since when the whole group serves, if it does."""
        return max((pod.ready_since or 0.0 for pod in self.members), default=0.0)

    @property
    def lost(self) -> bool:
        """Whether a pod of it is lost: the others wait for it in vain."""
        return any(pod.lost for pod in self.members)

    @property
    def waits_since(self) -> float | None:
        """Since when it waits for a place, or for pods that nobody makes (a quota); None if it does not."""
        waits = [pod.unschedulable_since for pod in self.members if pod.unschedulable_since is not None]
        if len(self.members) < self.pods:
            waits.append(max(self.created, *(max(pod.created, pod.unready_since or 0.0) for pod in self.members), 0.0))
        return min(waits) if waits else None

    @property
    def served(self) -> bool:
        """Whether it does not serve now but did before, as far as its pods tell: they did, or replace others."""
        fresh = self.restart is None or not self.restart.count
        return not self.ready and any(
            pod.ready_since is not None or pod.served or (fresh and pod.created > self.created + REPLACED_SECONDS)
            for pod in self.members
        )

    @property
    def placed(self) -> bool:
        """Whether every pod has its node: one that has none yet will take a place that still looks free."""
        return self.ready or (len(self.members) >= self.pods and all(pod.node for pod in self.members))

    @property
    def complete(self) -> bool:
        """Whether every pod that it should have exists and none is on its way out."""
        return len(self.members) >= self.pods and not any(pod.deleting for pod in self.members)


@dataclass(frozen=True)
class LeavingGroup:
    """Pods whose StatefulSet is gone or going: most drain, and their names cannot be used yet."""

    name: str
    revision: str
    stays: bool = False
    """Waiting for it is in vain: every pod is lost, or belongs to nobody who would delete it."""


@dataclass(frozen=True)
class ObservedRouter:
    """A Deployment of router pods. There are two while spec.router.mode changes."""

    name: str
    ready: int
    deleting: bool = False


@dataclass(frozen=True)
class ObservedRoute:
    """The HTTPRoute: where it leads, and what the Gateways say of it."""

    to_pool: bool
    """It leads to the InferencePool, not to the Service."""
    taken: bool = False
    """Every Gateway that it names has accepted it as it is now."""
    refusal: str = ""
    """What a Gateway says that cannot find what the route leads to; such a Gateway sends nobody anywhere."""
    age: float = 0.0
    """Seconds since it was first seen as it is now."""


@dataclass(frozen=True)
class Observed:
    """Everything the plan and the conditions read. Groups and pods are ordered by name."""

    groups: tuple[ObservedGroup, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    router_ready: int = 0
    """Router pods that serve, of all their Deployments."""
    routers: tuple[ObservedRouter, ...] = ()
    router_pods: frozenset[str] = frozenset()
    """Names of the Deployments that there are router pods of; these drain when it is gone."""
    pool: bool = False
    """Whether there is an InferencePool."""
    route: ObservedRoute | None = None
    leaving: tuple[LeavingGroup, ...] = ()
    now: float = 0.0
    """When this was observed."""
    operator_namespace: str = names.OPERATOR_NAMESPACE

    @property
    def busy_names(self) -> frozenset[str]:
        """Names of groups whose pods are still there although their StatefulSet leaves or has left."""
        return frozenset(group.name for group in self.leaving)

    @property
    def suspects(self) -> frozenset[str]:
        """Nodes worth asking about: a pod that is bound to them has not been ready for a while, or is to end."""
        return frozenset(pod.node for pod in self.pods if pod.node and not pod.ready and self._silent(pod))

    def _silent(self, pod: ObservedPod) -> bool:
        since = pod.created if pod.unready_since is None else pod.unready_since
        return pod.deleting or self.now >= since + SUSPICIOUS_SECONDS

    def ready_routers(self, name: str) -> int:
        """Count the router pods of a Deployment that serve."""
        return sum(router.ready for router in self.routers if router.name == name)

    def ready_groups(self, revision: str | None = None) -> int:
        """Count the replicas that serve, of one revision or of all."""
        return sum(group.ready for group in self.groups if revision in (None, group.revision))

    def wanted_groups(self, revision: str, replicas: int) -> int:
        """Count the groups, serving or not, of `replicas` of a revision."""
        return min(replicas, sum(group.revision == revision for group in self.groups))
