"""What the chooser answers: a replica, where to retry, and why. What is for people is made only when asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from manta_runtime.router.picker import ttft
from manta_runtime.router.picker.core import NOT_LOADED, Candidate, LeftOut
from manta_runtime.router.picker.prompts import cached_tokens
from manta_runtime.router.picker.request import Request

_FALLBACKS = 2
_TOLD = 32  # Envoy takes answers of more than 60 kB in their headers for a failure of the picker


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A replica for a request.

    `matched`: leading blocks of the prompt it holds. `work`: prefill work it has to do for the request (`ttft.py`);
    count it as pending until the first token. `now`: when it was chosen. `order`: cost and place in `usable`, the best
    first. `left_out`: candidates that were not considered, with the reason.
    """

    candidate: Candidate
    reason: str
    matched: int
    work: int
    now: float
    policy: str
    request: Request
    usable: Sequence[Candidate]
    order: Sequence[tuple[float, int]]
    matches: Mapping[str, int]
    left_out: LeftOut

    @property
    def fallbacks(self) -> tuple[Candidate, ...]:
        """Where to retry, the best first; at most two. Those that lack the adapter would say that there is none."""
        others = [self.usable[row[1]] for row in self.order[1 : 1 + _FALLBACKS]]
        if len(others) < _FALLBACKS:
            able = [c for c, why in self.left_out if why != NOT_LOADED]
            others += able[: _FALLBACKS - len(others)]
        return tuple(others)

    @property
    def alone(self) -> bool:
        """Whether only the chosen one and the fallbacks can serve it: others lack the adapter."""
        return bool(self.left_out) and any(why == NOT_LOADED for _, why in self.left_out)

    def explain(self) -> dict[str, Any]:
        """Candidates with their numbers, the best first, then those left out with the reason: what fits a header."""
        best, left_out = self.order[:_TOLD], self.left_out[: max(0, _TOLD - len(self.order))]
        untold = len(self.order) + len(self.left_out) - len(best) - len(left_out)
        return {
            "policy": self.policy,
            "replica": self.candidate.replica,
            "reason": self.reason,
            "blocks": len(self.request.blocks),
            "prompt_tokens": self.request.prompt_tokens,
            "candidates": [self._row(self.usable[place]) | {"cost": round(cost, 1)} for cost, place in best]
            + [self._row(c) | {"left_out": why} for c, why in left_out],
            **({"not_told": untold} if untold else {}),
        }

    def _row(self, c: Candidate) -> dict[str, Any]:
        prompt, matched = self.request.prompt_tokens, self.matches.get(c.replica, 0)
        own = ttft.work(prompt, min(prompt, cached_tokens(matched)))
        return {
            "replica": c.replica,
            "matched": matched,
            "load": c.load,
            "pending_tokens": c.pending_tokens,
            "kv_usage": round(c.kv_usage, 3),
            "ttft_ms": round(1000 * ttft.seconds(c.pending_tokens, own, c.load, c.prefill_rate), 1),
        }
