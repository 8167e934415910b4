"""What to do about one LLMDeployment: which groups to apply, which to prune, and why. Pure.

    desired  = {(revision, i) : 0 <= i < replicas}
    surplus  = observed groups of this revision with index >= replicas        pruned at once: a scale-down
    old      = observed groups of other revisions                             kept until every desired one serves

so a changed template never takes the last serving replica away before its successor serves. It keeps no state: the
same observation gives the same plan, and a plan interrupted half-way is simply made again.
"""

from dataclasses import dataclass

from manta_operator.api import names
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
class Plan:
    """The decisions for one pass of the loop."""

    shape: Shape
    fit: Fit
    revision: str
    groups: tuple[GroupPlan, ...]
    prune: tuple[ObservedGroup, ...]
    decisions: tuple[Decision, ...]


def plan(name: str, replicas: int, choice: Choice, revision: str, observed: Observed) -> Plan:
    """Decide the groups of deployment `name` at `revision`."""
    groups = tuple(GroupPlan(names.group_name(name, revision, index), index) for index in range(replicas))
    surplus = tuple(group for group in observed.groups if group.revision == revision and group.index >= replicas)
    old = tuple(group for group in observed.groups if group.revision != revision)
    replaced = observed.ready_groups(revision) >= replicas
    prune = surplus + (old if replaced else ())
    decisions = (
        Decision("Shaped", f"each replica is {choice.shape}"),
        Decision("Fit", choice.fit.message),
        *_scaling(surplus, replicas),
        *_rollout(old, replaced, revision, observed.ready_groups(revision), replicas),
    )
    return Plan(choice.shape, choice.fit, revision, groups, prune, decisions)


def _scaling(surplus: tuple[ObservedGroup, ...], replicas: int) -> tuple[Decision, ...]:
    if not surplus:
        return ()
    leaving = ", ".join(group.name for group in surplus)
    return (Decision("ScalingDown", f"{replicas} replicas are asked for: {leaving} drains and leaves"),)


def _rollout(
    old: tuple[ObservedGroup, ...], replaced: bool, revision: str, ready: int, replicas: int
) -> tuple[Decision, ...]:
    if not old:
        return ()
    if replaced:
        leaving = ", ".join(group.name for group in old)
        return (Decision("RolledOut", f"revision {revision} serves: {leaving} drains and leaves"),)
    kept = f"{len(old)} older replica{'s' if len(old) > 1 else ''}"
    return (Decision("RollingOut", f"{ready} of {replicas} replicas of revision {revision} serve: keeping {kept}"),)
