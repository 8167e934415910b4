"""How long replicas take from being asked for to serving, as the last ones did: what a decision looks ahead by. Pure.

Each replica is measured once, when it serves first, and counts with those before it, also after it has gone:

    cold start = the lower median of the last STARTS

So one start among others that took far longer (the first that fetched the weights, a node that was new) moves nothing,
and as many as there are of it are outvoted by as many that are as usual again, three at most. Of a new revision the
starts of before count as one. A restarted operator goes on from the one number of the status, which counts as a start.
"""

from dataclasses import dataclass
from statistics import median_low

from manta_operator.planning.observed import REPLACED_SECONDS, Observed, ObservedGroup

LONGEST_START_SECONDS = 3600.0
"""What took longer between its making and its being ready did something else in between: it was ready before."""
SHORTEST_START_SECONDS = 1.0
"""Kubernetes writes times in whole seconds: what took less looks like nothing."""
STARTS = 5
"""How many of the last starts are looked at."""


@dataclass(frozen=True, slots=True)
class Starts:
    """The `last` starts of `revision` (s), the newest first, and the uids of the groups that were `measured`."""

    last: tuple[float, ...] = ()
    revision: str = ""
    measured: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float | None:
        """How long a start takes (s); None: none has been seen."""
        return round(median_low(self.last), 1) if self.last else None


def known(before: float | None) -> Starts:
    """Return what a restarted operator knows: the number of the status (s)."""
    return Starts(() if before is None else (before,))


def watched(starts: Starts, observed: Observed, revision: str) -> Starts:
    """Return the starts with those that are over since.

    Only of groups that started once and serve since, and without what they waited for a place.

    Args:
        starts: Of before.
        observed: What there is.
        revision: Of the groups that count.
    """
    members = sorted((group for group in observed.groups if group.revision == revision), key=lambda each: -each.created)
    new = [(group.uid, took) for group in members if group.uid not in starts.measured and (took := _took(group))]
    measured = (starts.measured | {uid for uid, _ in new}) & {group.uid for group in observed.groups}
    if not new:
        return Starts(starts.last, starts.revision, measured)
    of_before = starts.last
    if starts.seconds is not None and starts.revision not in ("", revision):
        of_before = (starts.seconds,)
    return Starts((*(took for _, took in new), *of_before)[:STARTS], revision, measured)


def _took(group: ObservedGroup) -> float | None:
    """Return how long a group took to start; None where its pods tell of more than one start, or of none."""
    pods = group.members
    restarted = (group.restart is not None and group.restart.count) or any(pod.restarts for pod in pods)
    if not group.ready or restarted or any(pod.ready_since is None for pod in pods):
        return None
    if any(pod.created > group.created + REPLACED_SECONDS for pod in pods):
        return None
    waited = max((max(0.0, (pod.started or pod.created) - pod.created) for pod in pods), default=0.0)
    took = group.ready_since - group.created - waited
    return max(took, SHORTEST_START_SECONDS) if 0 <= took <= LONGEST_START_SECONDS else None
