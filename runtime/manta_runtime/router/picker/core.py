"""The values of a decision: replicas as the picker sees them now, and which of them may be chosen at all.

`ledger.py` keeps the values, `chooser.py` decides. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ready replica as the picker sees it now.

    `load`: requests in flight, of all routers. `waiting`, `running`, `kv_usage` (0..1): what the engine said last.
    `pending_tokens`: prompt tokens to be computed of requests we sent there whose first byte has not come.
    `prefill_rate`: prompt tokens it computes in a second, 0 if not known yet. `capacity`: how many requests it runs
    at once, 0 if unknown. `adapters`: those it has loaded; None if it did not say.
    `suspect`: a connection to it failed a moment ago. `saturated`: it would only queue. `last_pick`: number of the
    pick that last chose it, 0 for never. `revision`: of its template.
    """

    replica: str
    endpoint: str
    load: int = 0
    last_pick: int = 0
    suspect: bool = False
    waiting: int = 0
    running: int = 0
    kv_usage: float = 0.0
    pending_tokens: int = 0
    prefill_rate: float = 0.0
    capacity: int = 0
    adapters: frozenset[str] | None = None
    saturated: bool = False
    revision: str = ""


LeftOut = tuple[tuple[Candidate, str], ...]


def eligible(candidates: Sequence[Candidate], model: str | None) -> tuple[Sequence[Candidate], LeftOut]:
    """The candidates that may serve `model`, and the others with the reason why not.

    A filter that would leave nobody is not applied: trying one is better than refusing.
    """
    left_out: list[tuple[Candidate, str]] = []
    if model is not None:
        having = [c for c in candidates if c.adapters and model in c.adapters]
        candidates = _keep(candidates, having, "no adapter", left_out)
    candidates = _keep(candidates, [c for c in candidates if not c.suspect], "suspect", left_out)
    candidates = _keep(candidates, [c for c in candidates if not c.saturated], "saturated", left_out)
    return candidates, tuple(left_out)


def _keep(
    candidates: Sequence[Candidate], kept: Sequence[Candidate], why: str, left_out: list[tuple[Candidate, str]]
) -> Sequence[Candidate]:
    if not kept or len(kept) == len(candidates):
        return candidates
    keep = {c.replica for c in kept}
    left_out += [(c, why) for c in candidates if c.replica not in keep]
    return kept


def least_loaded(candidates: Sequence[Candidate]) -> Candidate | None:
    """The one with the fewest requests in flight, the least recently picked of equals; None if there is none."""
    return min(candidates, key=lambda c: (c.load, c.last_pick), default=None)


# Until answers.py asks a Chooser.
POLICIES = {"least-load": least_loaded}


def choose(
    policy: Callable[[Sequence[Candidate]], Candidate | None], candidates: Sequence[Candidate]
) -> Candidate | None:
    """The candidate that should serve the next request; None if there is none."""
    return policy(eligible(candidates, None)[0])
