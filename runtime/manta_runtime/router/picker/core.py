"""How a replica is chosen: filters → scorers → picker, as pure functions of values. `ledger.py` keeps the values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ready replica as the picker sees it now.

    `load`: requests it has in flight, ours and other routers'. `last_pick`: number of the pick that last
    chose it, 0 for never.
    `suspect`: a connection to it failed a moment ago.
    """

    replica: str
    endpoint: str
    load: int = 0
    last_pick: int = 0
    suspect: bool = False


Filter = Callable[[Sequence[Candidate]], Sequence[Candidate]]
Scorer = Callable[[Candidate], float]


@dataclass(frozen=True)
class Policy:
    """Filters narrow the candidates in order; the highest sum of scores wins, ties go to the least recently picked."""

    filters: tuple[Filter, ...]
    scorers: tuple[Scorer, ...]


def not_suspect(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Leave out replicas whose connections just failed; when all did, trying one is better than refusing."""
    return [c for c in candidates if not c.suspect] or candidates


def least_load(candidate: Candidate) -> float:
    """The fewer requests in flight, the higher."""
    return -float(candidate.load)


POLICIES = {"least-load": Policy(filters=(not_suspect,), scorers=(least_load,))}


def choose(policy: Policy, candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate that should serve the next request; None if there is none."""
    for narrow in policy.filters:
        candidates = narrow(candidates)
    return max(candidates, key=lambda c: (_score(policy, c), -c.last_pick), default=None)


def _score(policy: Policy, candidate: Candidate) -> float:
    return sum(scorer(candidate) for scorer in policy.scorers)
