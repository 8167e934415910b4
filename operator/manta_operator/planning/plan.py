"""What to do about one LLMDeployment: which groups to apply, which to prune, and why. Pure.

    desired  = {(revision, i) : 0 <= i < replicas}
    surplus  = observed groups of this revision with index >= replicas        pruned at once: a scale-down
    old      = observed groups of other revisions                             kept until every desired one serves
    broken   = old groups without one ready pod, while an older group of      pruned at once: their pods may hold
               another revision serves, or no old group does and the new      the accelerators that the new revision
               revision exists                                                waits for

so a changed template never takes the last serving replica away before its successor serves. It keeps no state: the
same observation gives the same plan, and a plan interrupted half-way is simply made again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from manta_operator.api import names
from manta_operator.placement.room import Room
from manta_operator.planning.fit import Choice, Fit
from manta_operator.planning.observe import Observed, ObservedGroup
from manta_operator.planning.shape import Shape


@dataclass(frozen=True)
class Decision:
    """One thing decided and the sentence that explains it."""

    reason: str
    message: str


@dataclass(frozen=True)
class GroupPlan:
    """One replica that should exist."""

    name: str
    index: int


@dataclass(frozen=True)
class Circumstances:
    """What costs a request to know, and is only asked for when a plan `wants` it. None: not known (yet)."""

    room: Room | None = None
    loads: Mapping[str, int] | None = None
    """Requests in flight, by name of the group."""


@dataclass(frozen=True)
class Restart:
    """A group to restart: write `count` and `at` on its StatefulSet; its pods created before `at` are then to go.

    Count 0 with the `at` of before: the group has healed.
    """

    group: str
    uid: str
    count: int
    at: float


@dataclass(frozen=True)
class Trouble:
    """A group that should serve and does not, and will not by waiting alone."""

    group: str
    message: str
    restarts: int = 0
    spent: bool = False
    """Its budget of restarts is spent: a person has to look."""


@dataclass(frozen=True)
class Rollout:
    """Where the groups stand, in numbers, for conditions and events."""

    state: Literal["settled", "starting", "scaling", "rolling", "waiting", "paused"]
    reason: str
    """One CamelCase word: Settled, Starting, ScalingDown, RollingOut, NoRoom, ProgressDeadlineExceeded, Failing."""
    message: str
    replicas: int = 0
    new: int = 0
    new_ready: int = 0
    old: int = 0
    old_ready: int = 0
    draining: int = 0
    """Groups of either kind whose pods are on their way out."""
    surge: int = 0
    unavailable: int = 0


@dataclass(frozen=True)
class Plan:
    """The decisions for one pass of the loop."""

    shape: Shape
    fit: Fit
    revision: str
    groups: tuple[GroupPlan, ...]
    prune: tuple[ObservedGroup, ...]
    decisions: tuple[Decision, ...]
    wants: frozenset[Literal["room", "loads"]] = frozenset()
    """What would decide better if it were known: gather it and call `desire` again, once."""
    restart: tuple[Restart, ...] = ()
    """First written as annotations, with metadata.uid so that nothing is created."""
    evict: tuple[tuple[str, str], ...] = ()
    """(name, uid) of pods to delete now: older than the restart of their group."""
    again_in: float | None = None
    """Seconds until something must be judged again although nothing may have changed."""
    rollout: Rollout = field(default_factory=lambda: Rollout("settled", "Settled", ""))
    troubles: tuple[Trouble, ...] = ()


def plan(name: str, replicas: int, choice: Choice, revision: str, observed: Observed) -> Plan:
    """Decide the groups of deployment `name` at `revision`."""
    groups = tuple(GroupPlan(names.group_name(name, revision, index), index) for index in range(replicas))
    surplus = tuple(group for group in observed.groups if group.revision == revision and group.index >= replicas)
    old = tuple(group for group in observed.groups if group.revision != revision)
    replaced = observed.ready_groups(revision) >= replicas
    broken = () if replaced else tuple(group for group in old if _broken(group, revision, observed))
    prune = surplus + (old if replaced else broken)
    decisions = (
        Decision("Shaped", f"each replica is {choice.shape}"),
        Decision("Fit", choice.fit.message),
        *_scaling(surplus, replicas),
        *_making_room(broken, revision),
        *_rollout(len(old) - len(broken), old if replaced else (), revision, observed, replicas),
    )
    return Plan(choice.shape, choice.fit, revision, groups, prune, decisions)


def _broken(group: ObservedGroup, revision: str, observed: Observed) -> bool:
    """Whether this old group only stands in the way: nothing of it serves, and it is nobody's last hope."""
    if group.ready_pods:
        return False
    serving = {other.revision for other in observed.groups if other.ready and other.revision != revision}
    if serving:
        return group.revision not in serving
    return any(other.revision == revision for other in observed.groups)


def _scaling(surplus: tuple[ObservedGroup, ...], replicas: int) -> tuple[Decision, ...]:
    if not surplus:
        return ()
    asked = "1 replica is" if replicas == 1 else f"{replicas} replicas are"
    return (Decision("ScalingDown", f"{asked} asked for: {_leaving(surplus)}"),)


def _making_room(broken: tuple[ObservedGroup, ...], revision: str) -> tuple[Decision, ...]:
    if not broken:
        return ()
    stale = ", ".join(sorted({group.revision for group in broken}))
    message = f"no pod of {_named(broken)} is ready, and revision {stale} is outdated: "
    return (
        Decision(
            "MakingRoom",
            f"{message}{'they leave' if len(broken) > 1 else 'it leaves'} at once, to make room for {revision}",
        ),
    )


def _rollout(
    kept: int, replaced: tuple[ObservedGroup, ...], revision: str, observed: Observed, replicas: int
) -> tuple[Decision, ...]:
    if replaced:
        return (Decision("RolledOut", f"revision {revision} serves: {_leaving(replaced)}"),)
    if not kept:
        return ()
    serve = f"{observed.ready_groups(revision)} of {replicas} replicas of revision {revision} serve"
    return (Decision("RollingOut", f"{serve}: keeping {kept} older replica{'s' if kept > 1 else ''}"),)


def _named(groups: tuple[ObservedGroup, ...]) -> str:
    return ", ".join(group.name for group in groups)


def _leaving(groups: tuple[ObservedGroup, ...]) -> str:
    return f"{_named(groups)} {'drain and leave' if len(groups) > 1 else 'drains and leaves'}"
