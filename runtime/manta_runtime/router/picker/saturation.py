"""When has a replica enough? Pure, and has no clock: one small value per replica, advanced by every look at its engine.

A request that waits in an engine's queue waits there for good; one that we hold goes to whichever replica is free
first. So no replica gets more than it runs, and a little more, so that it never runs dry:

    saturated  ⇔  limit > 0 and load ≥ limit + allowance(limit, rate)
    limit      =  the least that is known of: maxNumSeqs · engine cores, learned capacity (0: nothing is known)
    allowance  =  max(1 + ⌈rate · 0.1 s⌉, ⌊limit / 4⌋),  at most limit

`rate` is how many requests end there per second; 0.1 s is longer than an end takes to reach us and a held request to
reach the engine. The quarter lets a learned capacity grow again.

Capacity is learned from looks (running, waiting), once a second. An engine that queued at two looks in a row runs all
it can: capacity = running. (Once is not enough: a burst shows as waiting until the engine's next steps.) At a look
where none waits the engine took all it was given: if it runs as many as the capacity we believe in, that was too little
and is doubled; if it runs none, or is not seen any more, nothing is believed. So an idle engine is never saturated.
"""

import math
from dataclasses import dataclass

FEEDBACK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Learned:
    """`capacity`: requests the engine runs at once at most, 0 if unknown; `queued`: some waited at the last look."""

    capacity: int = 0
    queued: bool = False


UNKNOWN = Learned()


def after_look(before: Learned, running: int, waiting: int) -> Learned:
    """What is believed after a look at the engine's own counts."""
    if waiting > 0:
        # An engine that queues without running anything is about to start; it tells nothing yet.
        capacity = running if before.queued and running else before.capacity
        return Learned(capacity, queued=True)
    if running == 0:
        return UNKNOWN
    capacity = 2 * before.capacity if running >= before.capacity else before.capacity
    return Learned(capacity, queued=False)


def limit(learned: Learned, max_num_seqs: int) -> int:
    """How many requests run there at once at most; 0 if unknown. `max_num_seqs`: of all engine cores, 0 if unknown."""
    return min(learned.capacity or max_num_seqs, max_num_seqs or learned.capacity)


def allowance(most: int, rate: float) -> int:
    """How many may queue in an engine that runs `most` and ends `rate` requests per second."""
    return min(most, max(1 + math.ceil(rate * FEEDBACK_SECONDS), most // 4))


def is_saturated(load: int, most: int, rate: float) -> bool:
    """Whether a replica with `load` requests in flight should get no more for now."""
    return most > 0 and load >= most + allowance(most, rate)
