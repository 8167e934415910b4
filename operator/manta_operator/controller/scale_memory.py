"""What is remembered of one deployment's autoscaling from look to look, and what of it holds for longer than a moment.

The scaler looks and decides, the passes read the number and bring what is planned. Losing it costs what was watched of
the demand: the number is in the status (`planning.autoscale.begin`).
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.controller.scale_losses import Saved
from manta_operator.planning.autoscale_starts import Starts
from manta_operator.planning.autoscale_status import Learned
from manta_operator.planning.observed import Observed
from manta_operator.planning.plan import Plan
from manta_operator.planning.roofline import Performance
from manta_operator.scaling.capacity import Capacity
from manta_operator.scaling.decide import Decision
from manta_operator.scaling.ledger import Ledger
from manta_operator.scaling.reading import Document
from manta_operator.scaling.slowdown import Line
from manta_operator.scaling.state import State

MUTE_SECONDS = 60.0
"""For so long engines that serve may say nothing of themselves before it is told: those that have begun are late."""
MISSED_SECONDS = 10.0
"""A router that was read so lately is not called missing: one answer that does not come is no news."""


@dataclass(frozen=True)
class Planned:
    """What the last pass that could plan has brought. `rolling`: groups of other revisions are replaced."""

    spec: LLMDeploymentSpec
    performance: Performance | None
    revision: str
    observed: Observed
    rolling: bool

    @property
    def serving(self) -> frozenset[str]:
        """Names of the groups that serve."""
        return frozenset(group.name for group in self.observed.groups if group.ready)


def brought(spec: LLMDeploymentSpec, plan: Plan, observed: Observed) -> Planned:
    """Return what a pass has brought, as the decision is to see it.

    A rollout that moves keeps what was asked for. One that waits for room, or is paused, follows a scale-down: that
    makes the room. But while it is paused one replica of before stays, whatever minReplicas says: at zero the next
    request would find the revision that does not serve, and nothing else.
    """
    state, wish = plan.rollout.state, spec.autoscaling
    if state == "paused" and wish is not None and wish.min_replicas == 0:
        spec = spec.model_copy(update={"autoscaling": wish.model_copy(update={"min_replicas": 1})})
    return Planned(spec, plan.performance, plan.revision, observed, state == "rolling")


class Silent(NamedTuple):
    """A router that serves and could not be read: `name` of the pod; since when, monotonic and for people.

    `old`: it has no page to read: its image is older than the operator.
    """

    name: str
    since: float
    time: str
    old: bool = False


@dataclass(slots=True)
class Scale:
    """All of one deployment. `asked`: how many replicas; times in monotonic seconds."""

    asked: int
    state: State = field(default_factory=State)
    ledger: Ledger = field(default_factory=Ledger)
    decided: Decision | None = None
    starts: Starts = field(default_factory=Starts)
    planned: Planned | None = None
    """What the last pass has brought; None: it could not plan."""
    groups: int = 0
    """How many groups there were when it last could."""
    documents: dict[str, tuple[Document, float]] = field(default_factory=dict)
    """What each router said last, and when, by the uid of its pod."""
    silent: dict[str, Silent] = field(default_factory=dict)
    """Routers that could not be read, by the uid of the pod."""
    saved: dict[str, Saved] = field(default_factory=dict)
    """What the caches of the replicas have saved, by name of the group."""
    blind_since: float | None = None
    """Since when no router could be read at all."""
    mute_since: float | None = None
    """Since when none of the engines that serve has told what it does, although routers answer."""
    clocks: tuple[float, float] | None = None
    """The clock of people and the monotonic one at the last look."""
    fault: str = ""
    """The bug that kept the last look from deciding."""
    faults: int = 0
    """Looks in a row that ended so."""
    shown: tuple[object, ...] | None = None
    """What the last pass told of who is missing."""
    woken_at: float = -1e9
    """When a pass was last wanted for news that is no other number."""

    @property
    def cold_start(self) -> float | None:
        """How long starts take (s); None: none has been seen."""
        return self.starts.seconds

    def missing(self, now: float) -> tuple[str, ...]:
        """Return the names of the router pods that have not been read for a while."""
        return tuple(sorted(each.name for each in self.silent.values() if now - each.since >= MISSED_SECONDS))

    def old(self, now: float) -> tuple[str, ...]:
        """Return those of them whose image is older than the operator."""
        return tuple(
            sorted(each.name for each in self.silent.values() if each.old and now - each.since >= MISSED_SECONDS)
        )

    def mute(self, now: float) -> bool:
        """Whether no engine has told what it does for long."""
        return self.mute_since is not None and now - self.mute_since >= MUTE_SECONDS

    def blind(self, now: float) -> bool:
        """Whether no router at all has been read for a while."""
        return self.blind_since is not None and now - self.blind_since >= MISSED_SECONDS

    def standing(self, now: float) -> tuple[object, ...]:
        """Return what is told of who is missing: a change of it is news."""
        return (self.missing(now), self.blind(now), bool(self.fault), self.mute(now))

    def learned(self) -> Learned:
        """Return what is known of a replica."""
        capacity = replace(self.state.capacity, line=Line())  # looks alone teach nothing
        return Learned(capacity.speed if capacity != Capacity() else None, self.cold_start)
