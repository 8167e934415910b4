"""Which groups are started and which pruned, so that a changed template never costs more than the spec allows. Pure.

    N groups of this revision, O of others (what serves, starts or blinks), D of others that drain and are waited for
    R replicas, S surge, floor: rollout_limits.py

    prune at once   lost groups; N beyond R, in the order of victims.py; useless ones of O:
      useless       it neither serves nor blinks, and it never served, or its engine ends again and again, or it has
                    had its time to come back (health.hopeless_at), or those that serve make the floor without it
    start           min(R - N, R + S - N - O - D)           rollout: O or D
                    R - N                                   otherwise: a first start, or a scale-up
    hand over       of O that serve, as many as serve beyond the floor, for KNOWN_SECONDS already
    paused          O, and a group of N is in trouble, other than that it waits for a place: O only follows a
                    scale-down, and nothing is started, but R - N - O - D once a group of N has served: what is
                    missing is replaced, and a scale-up is followed, by a revision that is known to serve

It keeps no state. A group never changes its revision, and groups of this revision are only pruned when there are more
than R of them: so every pass either waits for something that will happen, or brings N nearer to R or O nearer to 0,
and a rollback is the same walk with the revisions exchanged. Groups that drain count as long as their pods are there,
for they hold their accelerators; R + S is never exceeded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from manta_operator.placement.room import Room
from manta_operator.planning.health import Deadlines, Trouble, dies, hopeless_at, state, trouble
from manta_operator.planning.observed import Observed, ObservedGroup
from manta_operator.planning.rollout_limits import Limits, Wish, limits, stuck_at
from manta_operator.planning.victims import Loss, competing, order

Groups = tuple[ObservedGroup, ...]

KNOWN_SECONDS = 5.0
"""Every router has heard by then that a group serves, and it was no flicker: now another may be pruned for it."""


@dataclass(frozen=True)
class Circumstances:
    """What costs a request to know, and is only asked for when a plan `wants` it. None: not known (yet)."""

    room: Room | None = None
    loads: Mapping[str, int] | None = None
    """Requests in flight, by name of the group."""
    losses: Mapping[str, Loss] | None = None
    """What would be lost with a group, by name; takes the place of `loads`."""


NOTHING_ELSE = Circumstances()


@dataclass(frozen=True)
class Steps:
    """What happens to the groups in this pass, and the numbers that say why."""

    new: Groups
    """Of this revision, those that stay."""
    old: Groups
    """Of other revisions, those that stay."""
    start: int
    """How many groups of this revision are started."""
    lost: Groups
    useless: Groups
    """Of other revisions, and not serving: they make room."""
    surplus: Groups
    """Of this revision, beyond what is asked for."""
    replaced: Groups
    """Of other revisions, serving, and no longer needed."""
    draining: int
    limits: Limits
    troubles: tuple[Trouble, ...]
    paused: bool
    hands_over: bool
    """A group serves so newly that nobody may be pruned for it yet."""
    wants_room: bool
    wants_loads: bool
    losses: Mapping[str, Loss] | None = None
    """What would have been lost with each group, where it is known."""

    @property
    def prune(self) -> Groups:
        """Every group that is pruned in this pass, and drains."""
        return self.lost + self.useless + self.surplus + self.replaced

    @property
    def rolls(self) -> bool:
        """Whether groups of other revisions are still there, serving or draining."""
        return bool(self.old or self.replaced or self.draining)

    @property
    def waits(self) -> bool:
        """Whether the rollout can go no further by itself: nothing moves, and nothing is about to."""
        moves = self.start or self.prune or self.draining
        starting = any(not group.ready and stuck_at(group) is None for group in self.new) or self.hands_over
        blinking = any(not group.ready for group in self.old)
        return bool(self.old) and not (self.paused or moves or starting or blinking)


def decide(revision: str, wish: Wish, deadlines: Deadlines, observed: Observed, circumstances: Circumstances) -> Steps:
    """Return the steps towards `wish.replicas` groups of `revision` and none of another."""
    troubles = tuple(each for group in observed.groups if (each := trouble(group, deadlines, observed.now)))
    broken = frozenset(each.group for each in troubles)
    kept = tuple(group for group in observed.groups if not group.lost)
    known = broken, circumstances.loads, circumstances.losses
    every_new = order((group for group in kept if group.revision == revision), *known)
    excess = max(0, len(every_new) - wish.replicas)
    new = every_new[excess:]
    every_old = tuple(group for group in kept if group.revision != revision)
    hurt = frozenset(each.group for each in troubles if not each.waits)
    paused = bool(every_old) and any(group.name in hurt for group in new)
    draining = sum(group.revision != revision and not group.stays for group in observed.leaving)
    total = len(new) + len(every_old) + draining
    bounds = limits(wish, total, new, draining, observed.now, circumstances.room)
    useless = () if paused else _useless(every_old, new, wish, bounds.floor, deadlines, observed)
    if useless:
        draining += len(useless)
        bounds = limits(wish, total, new, draining, observed.now, circumstances.room)
    old = tuple(group for group in every_old if group not in useless)
    spare = _spare(new, old, wish, bounds, observed.now, paused=paused)
    serving_old = order((group for group in old if group.ready), *known)
    rolls = bool(every_old or draining)
    return Steps(
        new=new,
        old=tuple(group for group in old if group not in serving_old[:spare]),
        start=_start(new, total, wish, bounds, rolls=rolls, paused=paused),
        lost=tuple(group for group in observed.groups if group.lost),
        useless=useless,
        surplus=every_new[:excess],
        replaced=serving_old[:spare],
        draining=draining,
        limits=bounds,
        troubles=troubles,
        paused=paused,
        hands_over=bool(old) and any((known_at(group) or 0.0) > observed.now for group in new + old),
        wants_room=bounds.asks_room and rolls and not paused and (len(new) < wish.replicas or bounds.stuck),
        wants_loads=competing(every_new, excess) or competing(serving_old, spare),
        losses=circumstances.losses,
    )


def _useless(old: Groups, new: Groups, wish: Wish, floor: int, deadlines: Deadlines, observed: Observed) -> Groups:
    """Return the old groups that give no answer and will not be missed: the new ones need their places."""
    if sum(group.ready for group in new) >= wish.replicas:
        return tuple(group for group in old if not group.ready)
    serving = sum(group.ready for group in old + new)
    found = (group for group in old if state(group, observed) == "starting")
    return tuple(
        group
        for group in found
        if serving >= floor or not group.served or dies(group) or _hopeless(group, deadlines, observed.now)
    )


def _hopeless(group: ObservedGroup, deadlines: Deadlines, now: float) -> bool:
    moment = hopeless_at(group, deadlines)
    return moment is not None and now >= moment


def known_at(group: ObservedGroup) -> float | None:
    """Return when a group that serves is known to, in epoch seconds; None if it does not serve."""
    return group.ready_since + KNOWN_SECONDS if group.ready else None


def _spare(new: Groups, old: Groups, wish: Wish, bounds: Limits, now: float, *, paused: bool) -> int:
    """Count the old groups that serve and may be pruned."""
    serving_old = sum(group.ready for group in old)
    serving = sum(moment is not None and now >= moment for moment in map(known_at, new + old))
    beyond = serving_old - wish.replicas if paused else serving - bounds.floor
    return min(serving_old, max(0, beyond))


def _start(new: Groups, total: int, wish: Wish, bounds: Limits, *, rolls: bool, paused: bool) -> int:
    """Count the new groups to start."""
    missing = wish.replicas - len(new)
    if paused:
        places = wish.replicas - total if any(group.ready for group in new) else 0
    else:
        places = wish.replicas + bounds.surge - total if rolls else missing
    return max(0, min(missing, places))
