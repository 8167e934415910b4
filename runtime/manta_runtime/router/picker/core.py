"""The values of a decision: replicas as the picker sees them now, and which of them may be chosen at all.

`ledger.py` keeps the values, `chooser.py` decides. Pure.
"""

from collections.abc import Sequence

import msgspec


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One ready replica as the picker sees it now.

    `load`: requests in flight, of all routers. `last_pick`: number of the pick that last chose it, 0 for never.
    `suspect`: a connection to it failed a moment ago. `saturated`: it would only queue.
    `waiting`, `running`, `kv_usage` (0..1): what the engine said last. `pending_tokens`: prefill work (`ttft.py`) of
    requests sent there whose first token has not come. `prefill_rate`: work it does in a second, 0 if not known yet.
    `capacity`: how many requests it runs at once, 0 if unknown. `adapters`: those it has loaded; None if it did not
    say. `revision`: of its template.
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


# Requests released to a replica of which we do not know how many it runs: no more than vLLM runs by default.
_ASSUMED_SEQS = 256
NOT_LOADED = "adapter not loaded"
LeftOut = tuple[tuple[Candidate, str], ...]


def eligible(candidates: Sequence[Candidate], model: str | None) -> tuple[Sequence[Candidate], LeftOut]:
    """The candidates that may serve `model`, and the others with the reason why not.

    A filter that would leave nobody is not applied: trying one is better than refusing. Replicas without the adapter go
    first: they would answer 404, while suspects are retried and saturated ones only slow.
    """
    for c in candidates:
        if c.suspect or c.saturated or c.adapters:
            break
    else:
        return candidates, ()
    left_out: list[tuple[Candidate, str]] = []
    having = [c for c in candidates if c.adapters and model in c.adapters]
    candidates = _narrow(candidates, having, NOT_LOADED, left_out)
    candidates = _narrow(candidates, [c for c in candidates if not c.suspect], "suspect", left_out)
    candidates = _narrow(candidates, [c for c in candidates if not c.saturated], "saturated", left_out)
    return candidates, tuple(left_out)


def is_flooded(candidate: Candidate) -> bool:
    """Whether it has got as many as it may take, as far as we know."""
    return not candidate.capacity and candidate.load >= max(_ASSUMED_SEQS, 2 * candidate.running)


def _narrow(
    candidates: Sequence[Candidate], kept: Sequence[Candidate], why: str, left_out: list[tuple[Candidate, str]]
) -> Sequence[Candidate]:
    if not kept or len(kept) == len(candidates):
        return candidates
    keep = {c.replica for c in kept}
    left_out += [(c, why) for c in candidates if c.replica not in keep]
    return kept
