"""What to do about one LLMDeployment: which groups to apply, which to prune or restart, and why. Pure.

    health.py           how each group is: who hangs, who is lost, who is late
    rollout_limits.py   how many groups beyond replicas, how many out of service
    rollout.py          who is started and who is pruned
    victims.py          in which order
    rollout_words.py    the sentences

It keeps no state: the same observation gives the same plan, and a plan interrupted half-way is simply made again.
Observations must show the operator's own writes: a group applied exists, a group pruned is gone.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from manta_operator.api import names
from manta_operator.facts.accelerators import Accelerator
from manta_operator.planning import health, rollout
from manta_operator.planning.choice import Choice, Rejected
from manta_operator.planning.fit import Fit
from manta_operator.planning.health import Deadlines, Restart, Trouble
from manta_operator.planning.observed import Observed, ObservedGroup
from manta_operator.planning.rollout import Circumstances, Steps
from manta_operator.planning.rollout_limits import Wish, stuck_at
from manta_operator.planning.rollout_words import Decision, Rollout, decisions, standing
from manta_operator.planning.roofline import Performance
from manta_operator.planning.shape import Shape

__all__ = [
    "Circumstances",
    "Deadlines",
    "Decision",
    "GroupPlan",
    "Plan",
    "Restart",
    "Rollout",
    "Trouble",
    "Wish",
    "plan",
]

ROOM_AGAIN_SECONDS = 30.0
"""How often room is looked for: what others free wakes nobody here."""


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
    """To apply. Groups of other revisions that stay are left as they are."""
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
    """Groups that should serve and do not, of any revision."""
    rejected: tuple[Rejected, ...] = ()
    """Shapes that were tried before this one, and why they are not taken."""
    performance: Performance | None = None
    """How fast a replica is, by estimate."""
    accelerator: Accelerator | None = None
    """What the pods ask for."""
    measured: bool = False
    """An engine of this choice has reported what it holds."""
    started: bool = False
    """Pods were made of this choice, now or before."""


def plan(
    name: str,
    wish: Wish,
    deadlines: Deadlines,
    choice: Choice,
    revision: str,
    observed: Observed,
    circumstances: Circumstances = rollout.NOTHING_ELSE,
) -> Plan:
    """Decide the groups of deployment `name` at `revision`."""
    steps = rollout.decide(revision, wish, deadlines, observed, circumstances)
    kept = steps.new + steps.old
    restarts = health.restarts(kept, deadlines, observed.now)
    told = standing(revision, wish, steps, sum(not group.stays for group in observed.leaving), circumstances.room)
    wants: set[Literal["room", "loads"]] = set()
    if steps.wants_room and circumstances.room is None:
        wants.add("room")
    if steps.wants_loads and circumstances.loads is None and circumstances.losses is None:
        wants.add("loads")
    made = Plan(
        shape=choice.shape,
        fit=choice.fit,
        revision=revision,
        groups=_groups(name, revision, steps, observed),
        prune=tuple(sorted(steps.prune, key=lambda group: group.name)),
        decisions=(
            Decision("Shaped", f"each replica is {choice.shape}"),
            Decision("Fit", choice.fit.message),
            *((Decision("Advice", choice.advice),) if choice.advice else ()),
            *decisions(revision, wish, steps, restarts, told),
        ),
        wants=frozenset(wants),
        restart=restarts,
        evict=health.evictions(kept, restarts),
        again_in=_again_in(steps, deadlines, observed),
        rollout=told,
        troubles=steps.troubles,
        rejected=choice.rejected,
    )
    return _with_memory(made, choice, observed)


def _with_memory(made: Plan, choice: Choice, observed: Observed) -> Plan:
    """Add what the status is to remember of the choice."""
    started = choice.started or any(group.revision == made.revision for group in observed.groups)
    return replace(made, accelerator=choice.accelerator, measured=choice.measured, started=started)


def _groups(name: str, revision: str, steps: Steps, observed: Observed) -> tuple[GroupPlan, ...]:
    """Return the groups that stay, and the new ones at the lowest indices whose names are free."""
    taken = {group.name for group in observed.groups} | observed.busy_names
    indices = [group.index for group in steps.new]
    index = 0
    while len(indices) < len(steps.new) + steps.start:
        if names.group_name(name, revision, index) not in taken:
            indices.append(index)
        index += 1
    return tuple(GroupPlan(names.group_name(name, revision, index), index) for index in sorted(indices))


def _again_in(steps: Steps, deadlines: Deadlines, observed: Observed) -> float | None:
    """Return the seconds until the first deadline, at least one; None if only a change can change anything."""
    kept = steps.new + steps.old
    moments = [*health.moments(kept, deadlines), *(pod.lost_at for pod in observed.pods if pod.lost_at is not None)]
    moments += [moment for moment in (health.blinking_until(group, observed) for group in kept) if moment is not None]
    moments += [moment for moment in map(stuck_at, steps.new) if moment is not None]
    waited_for = (health.hopeless_at(group, deadlines) for group in steps.old if not group.ready)
    moments += [moment for moment in waited_for if moment is not None]
    if steps.hands_over:
        moments += [moment for moment in map(rollout.known_at, kept) if moment is not None]
    if steps.waits:
        moments.append(observed.now + ROOM_AGAIN_SECONDS)
    ahead = [moment - observed.now for moment in moments if moment > observed.now]
    return max(1.0, min(ahead)) if ahead else None
