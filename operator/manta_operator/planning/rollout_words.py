"""What a rollout says: its standing in one value for conditions and events, and its decisions in sentences. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from manta_operator.placement.room import Room
from manta_operator.planning.health import BUDGET, Restart
from manta_operator.planning.observed import ObservedGroup
from manta_operator.planning.rollout import Steps
from manta_operator.planning.rollout_limits import Wish, stuck_at
from manta_operator.planning.victims import HIT_SECONDS, NOTHING

_APART = 3
"""Restarts up to which each has its own decision, and so its own event; a status holds 64."""


@dataclass(frozen=True)
class Decision:
    """One thing decided and the sentence that explains it."""

    reason: str
    message: str


_STANDING = frozenset(
    {
        *("Shaped", "Fit", "Advice", "EngineOption", "Doubted", "Adapters", "ShortDrain"),
        *("NoRoom", "Paused", "RollingOut"),
    }
)
"""Decisions that say how things stand; the others say what is done."""


def gathered(looks: Sequence[Sequence[Decision]]) -> tuple[Decision, ...]:
    """Return what several looks at one deployment, one after the other, have decided.

    What was done by any of them is said once; how things stand, as the last one saw it.
    """
    *earlier, last = looks
    done = [decision for look in earlier for decision in look if decision.reason not in _STANDING]
    return tuple(dict.fromkeys([*last, *done]))


@dataclass(frozen=True)
class Rollout:
    """Where the groups stand before the steps of this pass, in numbers, for conditions and events.

    settled   all that was asked for serves, and nothing else is there
    starting  every group of this revision that should be there is or is being started, not all serve
    scaling   groups are pruned, or drain, because fewer are asked for
    rolling   groups of other revisions are replaced
    waiting   the same, but there is neither room to surge nor leave to take one out of service
    paused    the same, but a new group is in trouble
    """

    state: Literal["settled", "starting", "scaling", "rolling", "waiting", "paused"]
    reason: str
    """One CamelCase word: Settled, Starting, ScalingDown, RollingOut, NoRoom, ProgressDeadlineExceeded or Failing.

    Of these, ProgressDeadlineExceeded and Failing also come with state starting, where nothing is held back.
    """
    message: str
    replicas: int = 0
    new: int = 0
    new_ready: int = 0
    old: int = 0
    old_ready: int = 0
    draining: int = 0
    """Groups of any revision whose pods are on their way out, those that are pruned in this pass included."""
    surge: int = 0
    unavailable: int = 0


def standing(revision: str, wish: Wish, steps: Steps, draining: int, room: Room | None) -> Rollout:
    """Return where the rollout stands; `draining` counts the groups of any revision that had left before."""
    kind, reason, message = _verdict(revision, wish, steps, draining, room)
    old = steps.old + steps.replaced + steps.useless
    return Rollout(
        state=kind,
        reason=reason,
        message=message,
        replicas=wish.replicas,
        new=len(steps.new),
        new_ready=_ready(steps.new),
        old=len(old),
        old_ready=_ready(old),
        draining=draining + len(steps.prune),
        surge=steps.limits.surge if steps.rolls else 0,
        unavailable=steps.limits.unavailable(wish.replicas) if steps.rolls else 0,
    )


def decisions(
    revision: str, wish: Wish, steps: Steps, restarts: tuple[Restart, ...], told: Rollout
) -> tuple[Decision, ...]:
    """Return what is decided in this pass, each with its numbers."""
    found = []
    if steps.lost:
        found.append(Decision("Replacing", f"{_named(steps.lost)}: a node is lost, another group is started elsewhere"))
    if steps.surplus:
        asked = "1 replica is" if wish.replicas == 1 else f"{wish.replicas} replicas are"
        found.append(Decision("ScalingDown", f"{asked} asked for: {_pruned(steps.surplus)}{_cost(steps)}"))
    if steps.useless:
        found.append(Decision("MakingRoom", _making_room(steps.useless, revision)))
    if steps.replaced:
        found.append(Decision("HandingOver", _handing_over(revision, wish, steps)))
    found += _restarting(steps, restarts)
    if told.state in ("rolling", "waiting", "paused"):
        found.append(Decision({"waiting": "NoRoom", "paused": "Paused"}.get(told.state, "RollingOut"), told.message))
    return tuple(found)


def _verdict(
    revision: str, wish: Wish, steps: Steps, draining: int, room: Room | None
) -> tuple[Literal["settled", "starting", "scaling", "rolling", "waiting", "paused"], str, str]:
    serve = f"{_ready(steps.new)} of {_count(wish.replicas, 'replica')} of revision {revision} serve"
    in_trouble = [each for each in steps.troubles if each.group in {group.name for group in steps.new}]
    reason = "ProgressDeadlineExceeded" if any(each.late for each in in_trouble) else "Failing"
    words = "; ".join(f"{each.group}: {each.message}" for each in in_trouble[:2])
    if steps.paused:
        kept = f"{_count(len(steps.old), 'older one')} kept"
        return "paused", reason, f"paused, {_paused(wish, steps)}: {serve}, {kept}; {words}"
    if steps.waits:
        return "waiting", "NoRoom", f"{serve}; {_no_room(wish, steps, room)}"
    if steps.rolls:
        return "rolling", "RollingOut", f"{serve}; {_rolling(wish, steps, room)}"
    if _ready(steps.new) < wish.replicas:
        return "starting", reason if in_trouble else "Starting", f"{serve}; {words}" if in_trouble else serve
    if steps.prune or draining:
        return "scaling", "ScalingDown", f"{serve}; {_count(len(steps.prune) + draining, 'other')} still to drain"
    return "settled", "Settled", serve


def _paused(wish: Wish, steps: Steps) -> str:
    if steps.start:
        return f"nothing more is taken away, and only the missing {steps.start} started"
    missing = wish.replicas - len(steps.new) - len(steps.old) - steps.draining
    if missing <= 0:
        return "nothing more is started or taken away"
    return (
        f"nothing more is taken away, and the missing {missing} of {_count(wish.replicas, 'replica')} not started "
        "before a new one serves"
    )


def _rolling(wish: Wish, steps: Steps, room: Room | None) -> str:
    kept = f"{_count(len(steps.old), 'older one')} kept"
    drain = f", {steps.draining + len(steps.replaced)} draining" if steps.draining or steps.replaced else ""
    return f"{kept}{drain}; {_means(wish, steps, room)}"


def _means(wish: Wish, steps: Steps, room: Room | None) -> str:
    surge, out = steps.limits.surge, steps.limits.unavailable(wish.replicas)
    seen = f" ({room.sentence})" if room else ""
    if steps.limits.stuck and out:
        return f"a new one waits for its place: {out} of {wish.replicas} may be out of service meanwhile"
    if surge and out:
        return f"surging by {surge}{seen}, with {out} out of service at most"
    if surge:
        return f"surging by {surge}{seen}, none is taken out of service before its successor serves"
    return f"no room to surge{seen}: {out} of {wish.replicas} at a time is replaced in place"


def _no_room(wish: Wish, steps: Steps, room: Room | None) -> str:
    kept = f"{_count(len(steps.old), 'older one')} kept"
    if room and not room.suitable:
        remedy = (
            "check spec.accelerator, spec.scheduling and spec.podTemplate, or add such nodes "
            "(spec.rollout.surge: 1 asks an autoscaler to)"
        )
        return f"{kept}, waiting for nodes that suit the new template, for none does: {room.sentence}; {remedy}"
    if steps.limits.stuck:
        seen = next(_waits_for(group) for group in steps.new if stuck_at(group) is not None)
    elif wish.surge == 0:
        seen = "spec.rollout.surge is 0"
    else:
        seen = room.sentence if room else "no room to surge"
    allow = min(wish.replicas, steps.limits.unavailable(wish.replicas) + 1)
    outage = "an outage" if allow >= wish.replicas else f"{allow} of {wish.replicas} out of service"
    remedy = f"free accelerators, or set spec.rollout.unavailable: {allow} to allow {outage}"
    return f"{kept}, waiting for room: {seen}; {remedy}"


def _waits_for(group: ObservedGroup) -> str:
    problems = (pod.problem for pod in group.members if pod.unschedulable_since is not None)
    missing = f"{len(group.members)} of {_count(group.pods, 'pod')} of {group.name} made"
    return next(problems, None) or f"{missing}, which the events of its StatefulSet explain (often a quota)"


def _making_room(groups: tuple[ObservedGroup, ...], revision: str) -> str:
    stale = ", ".join(sorted({group.revision for group in groups}))
    pruned = "they are pruned" if len(groups) > 1 else "it is pruned"
    verb = "do not serve" if len(groups) > 1 else "does not serve"
    return f"{_named(groups)} {verb}, and revision {stale} is outdated: {pruned} at once, to make room for {revision}"


def _handing_over(revision: str, wish: Wish, steps: Steps) -> str:
    serving = _ready(steps.new) + _ready(steps.old + steps.replaced)
    floor = steps.limits.floor if not steps.paused else wish.replicas
    numbers = f"{serving} replicas serve, {_ready(steps.new)} of them of revision {revision}, and {floor} must"
    return f"{numbers}: {_pruned(steps.replaced)}"


def _restarting(steps: Steps, restarts: tuple[Restart, ...]) -> list[Decision]:
    """Say which groups were restarted, until they serve again: a decision told once would be missed."""
    counts = {group.name: group.restart.count for group in steps.new + steps.old if group.restart and not group.ready}
    counts |= {restart.group: restart.count for restart in restarts if restart.count}
    counted = [(name, count) for name, count in sorted(counts.items()) if count]
    why = "ran and did not serve within"
    if len(counted) > _APART:
        named = _listed([f"{name} ({count} of {BUDGET})" for name, count in counted])
        found = [Decision("Restarting", f"{len(counted)} groups {why} their deadlines: restart of {named}")]
    else:
        found = [
            Decision("Restarting", f"{name} {why} its deadline: restart {count} of {BUDGET}") for name, count in counted
        ]
    healed = sorted(restart.group for restart in restarts if not restart.count)
    if healed:
        have = "has" if len(healed) == 1 else "have"
        found.append(Decision("Healed", f"{_listed(healed)} {have} served long enough: restarts are forgiven"))
    return found


def _ready(groups: tuple[ObservedGroup, ...]) -> int:
    return sum(group.ready for group in groups)


def _named(groups: tuple[ObservedGroup, ...]) -> str:
    return _listed([group.name for group in groups])


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:4])} and {len(names) - 4} more"


def _pruned(groups: tuple[ObservedGroup, ...]) -> str:
    return f"{_named(groups)} {'are pruned and drain' if len(groups) > 1 else 'is pruned and drains'}"


def _cost(steps: Steps) -> str:
    """Return what goes with the groups that are surplus, where that has decided who they are."""
    if steps.losses is None or not _ready(steps.new):
        return ""
    gone = [steps.losses.get(group.name, NOTHING) for group in steps.surplus if group.ready]
    if not gone:
        return ""
    flying = _count(sum(loss.in_flight for loss in gone), "request")
    saved = sum(loss.hit_tokens for loss in gone)
    them = "it" if len(gone) == 1 else "them"
    return (
        f"; least is lost with {them}: {flying} to finish, and a prefix cache that saved {saved:.0f} tokens of prompts "
        f"in {HIT_SECONDS:.0f} s"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
