"""When has a replica enough? Pure, and has no clock: one small value per replica, advanced by every look at its engine.

A request that waits in an engine's queue waits there for good; one that we hold goes to whichever replica is free
first. So no replica gets more than it runs, and a little more, so that it never runs dry:

    saturated  ⇔  limit > 0 and load ≥ limit + allowance(limit, rate)
    limit      =  the least that is known of: maxNumSeqs · engine cores, learned capacity (0: nothing is known)
    allowance  =  max(1 + ⌈rate · 0.1 s⌉, ⌊limit / 4⌋),  at most limit

`rate` is how many requests end there per second; 0.1 s is longer than an end takes to reach us and a held request to
reach the engine. The quarter lets a learned capacity grow again.

Capacity is learned from looks (running, waiting, KV-cache use), once a second. That requests wait says little: mostly
the engine's steps are full of prefill, and it will run more in a moment. It runs all it can (capacity = running) if
some wait at two looks in a row and its KV cache is full, or if at three in a row the same number runs, and a large one.
At a look where none waits it took all it was given, and the capacity we believe in doubles, until it means nothing; if
it runs none, or is not seen any more, nothing is believed. So an idle engine is never saturated.
"""

import math

import msgspec

FEEDBACK_SECONDS = 0.1
FULL_CACHE = 0.9
_MANY = 32
_FORGOTTEN = 1024


class Learned(msgspec.Struct, frozen=True):
    """`capacity`: requests the engine runs at once at most, 0 if unknown.

    `looks`: how many in a row saw some wait; of them the last `same` saw the same number, `running`, run.
    """

    capacity: int = 0
    looks: int = 0
    same: int = 0
    running: int = 0


UNKNOWN = Learned()


def after_look(before: Learned, running: int, waiting: int, kv_usage: float) -> Learned:
    """What is believed after a look at the engine's own counts; `kv_usage` is 0..1."""
    capacity = before.capacity
    if not waiting:
        return Learned(2 * capacity) if running and capacity < _FORGOTTEN else UNKNOWN
    looks = before.looks + 1
    same = before.same + 1 if running == before.running else 1
    full = (looks >= 2 and kv_usage >= FULL_CACHE) or (same >= 3 and running >= _MANY)
    # An engine that queues without running anything is about to start; it tells nothing yet.
    return Learned(running if full and running else capacity, looks, same, running)


def limit(learned: Learned, max_num_seqs: int) -> int:
    """How many requests run there at once at most; 0 if unknown. `max_num_seqs`: of all engine cores, 0 if unknown."""
    return min(learned.capacity or max_num_seqs, max_num_seqs or learned.capacity)


def allowance(most: int, rate: float) -> int:
    """How many may queue in an engine that runs `most` and ends `rate` requests per second."""
    return min(most, max(1 + math.ceil(rate * FEEDBACK_SECONDS), most // 4))


def full_at(most: int, rate: float) -> float:
    """The load from which on a replica that runs `most` should get no more for now; never (infinite) if that is 0."""
    return most + allowance(most, rate) if most > 0 else math.inf
