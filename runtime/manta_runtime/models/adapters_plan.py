"""Which adapters to fetch now, which to leave, and when to try a failed one again. Pure: clocks are arguments.

adapters_run.py looks, asks here, and starts and ends fetches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from manta_runtime.models.adapters_list import WantedAdapter

AT_ONCE = 2
"""Fetches at a time: each has connections of its own, and adapters are small."""
PERMANENT_SECONDS = 600.0
"""Where nothing is gained by another try until somebody changes something, it is still looked for now and then."""
_FIRST_SECONDS = 5.0
_LONGEST_SECONDS = 300.0


@dataclass(frozen=True)
class Failure:
    """Failures of one adapter in a row: it is not tried again before `again` (monotonic seconds)."""

    count: int
    again: float


def after_failure(before: Failure | None, *, permanent: bool, now: float) -> Failure:
    """Return the failure counted: 5 s after the first, twice as long after each further one, 300 s at most."""
    count = before.count + 1 if before else 1
    wait = PERMANENT_SECONDS if permanent else min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(count - 1, 10))
    return Failure(count, now + wait)


def to_start(
    missing: Sequence[WantedAdapter], running: Collection[str], failures: Mapping[str, Failure], now: float
) -> tuple[WantedAdapter, ...]:
    """Return whose fetch begins now, in the order of the list; two adapters of one key are fetched once."""
    free = AT_ONCE - len(running)
    chosen: dict[str, WantedAdapter] = {}
    for adapter in missing:
        failure = failures.get(adapter.key)
        if len(chosen) < free and adapter.key not in running and (failure is None or failure.again <= now):
            chosen.setdefault(adapter.key, adapter)
    return tuple(chosen.values())


def to_end(running: Collection[str], missing: Sequence[WantedAdapter]) -> tuple[str, ...]:
    """Return the keys of the fetches that nobody wants any more."""
    wanted = {adapter.key for adapter in missing}
    return tuple(key for key in running if key not in wanted)
