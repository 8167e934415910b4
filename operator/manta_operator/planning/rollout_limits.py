"""How far a rollout may go: groups beyond replicas, and groups out of service. Pure.

R replicas   total = new + old groups + those of other revisions that still drain

surge        as given;  auto: 1 while one surges (total > R), or where there is room for one more group beside
those that are missing or have no place yet, or the room is not known (then the scheduler is asked by trying); else 0
stuck        a new group has waited for a place, or for pods at all, for TRY_SECONDS, and nothing drains for it
unavailable  as given;  auto: 0 where it surges, unless that is auto too and stuck; otherwise 1, but 0 of one
             0 in any case where no node suits the new template: a place that is freed would help nobody
floor        = R - unavailable groups that serve; at least 1 while it surges and is not stuck: an outage that
is allowed is only taken where there is no other way
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from manta_operator.placement.room import Room
from manta_operator.planning.observed import ObservedGroup

TRY_SECONDS = 60.0
"""How long a surge waits for the scheduler before it counts as stuck: a cluster that grows needs longer, and may."""


@dataclass(frozen=True)
class Wish:
    """What the spec says about how many, and how they are replaced."""

    replicas: int
    surge: int | Literal["auto"] = "auto"
    unavailable: int | Literal["auto"] = "auto"


@dataclass(frozen=True)
class Limits:
    """What a rollout may do now."""

    surge: int
    floor: int
    """Groups that must go on serving."""
    stuck: bool = False
    asks_room: bool = False
    """Whether the room would decide, and is not known."""

    def unavailable(self, replicas: int) -> int:
        """Groups that may be out of service."""
        return replicas - self.floor


def limits(
    wish: Wish, total: int, new: Iterable[ObservedGroup], draining: int, now: float, room: Room | None
) -> Limits:
    """Return the limits of a rollout.

    Args:
        wish: What the spec says.
        total: Groups that hold or will hold accelerators: of this revision, of others, and those of others that drain.
        new: Groups of this revision.
        draining: Groups of other revisions that drain.
        now: Epoch seconds.
        room: Free places, if known.
    """
    groups = tuple(new)
    moments = [stuck_at(group) for group in groups]
    unplaced = sum(not group.placed for group in groups)
    stuck = not draining and any(moment is not None and now >= moment for moment in moments)
    surge, asks = _surge(wish, total - unplaced, total, stuck=stuck, room=room)
    unavailable = _unavailable(wish, surging=surge > 0 and not (stuck and wish.surge == "auto"))
    asks = asks or (unavailable > 0 and room is None)
    if room is not None and not room.suitable:
        unavailable = 0
    floor = max(wish.replicas - unavailable, min(1, wish.replicas) if surge and not stuck else 0)
    return Limits(surge, floor, stuck, asks)


def stuck_at(group: ObservedGroup) -> float | None:
    """Return when a group that waits for a place counts as stuck, in epoch seconds; None if it does not wait."""
    return group.waits_since + TRY_SECONDS if group.waits_since is not None else None


def _surge(wish: Wish, placed: int, total: int, *, stuck: bool, room: Room | None) -> tuple[int, bool]:
    if wish.surge != "auto":
        return wish.surge, False
    if total > wish.replicas:
        return 1, False
    if stuck:
        return 0, False
    missing = wish.replicas - placed
    return (1, True) if room is None else (int(room.groups > missing), False)


def _unavailable(wish: Wish, *, surging: bool) -> int:
    if wish.unavailable != "auto":
        return min(wish.unavailable, wish.replicas)
    if surging:
        return 0
    return 1 if wish.replicas > 1 else 0
