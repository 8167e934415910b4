"""Chooses a replica for each request: filters (`core.py`) → scores of the policy → the best, and the next to retry.

No I/O, no clock, no randomness: ties go by rendezvous hashing over the start of the prompt, so that two routers that
have seen different requests still place a new prompt alike.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manta_runtime.router.picker import ttft
from manta_runtime.router.picker.core import Candidate, LeftOut, eligible
from manta_runtime.router.picker.prefix import PrefixIndex
from manta_runtime.router.picker.prompts import CHARS_BEFORE, CHARS_PER_TOKEN, digest64
from manta_runtime.router.picker.request import Request

_FALLBACKS = 2
_MASK = (1 << 64) - 1
# Costs this close are equal: fewer tokens than decide anything.
_TIE_TOKENS = 256
# With sessions: a replica may have this many times the mean load, before a session leaves it.
_BOUND = 1.25

Costs = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """A replica for a request. `fallbacks`: where to retry, best first. `matched`: leading blocks it holds.

    `uncached_tokens`: how much of the prompt it has to compute (what to count as pending there).
    """

    candidate: Candidate
    reason: str
    fallbacks: tuple[Candidate, ...] = ()
    matched: int = 0
    uncached_tokens: int = 0
    policy: str = ""
    ranked: tuple[tuple[float, Candidate], ...] = ()
    matches: Mapping[str, int] | None = None
    left_out: LeftOut = ()
    request: Request | None = None

    def explain(self) -> dict[str, Any]:
        """Every candidate with its numbers, the best first, and those left out with the reason."""
        request = self.request
        matches = self.matches or {}
        rows = [self._row(c, matches.get(c.replica, 0)) | {"cost": round(cost, 3)} for cost, c in self.ranked]
        rows += [self._row(c, matches.get(c.replica, 0)) | {"left_out": why} for c, why in self.left_out]
        return {
            "policy": self.policy,
            "replica": self.candidate.replica,
            "reason": self.reason,
            "blocks": len(request.blocks) if request else 0,
            "prompt_tokens": request.prompt_tokens if request else 0,
            "candidates": rows,
        }

    def _row(self, c: Candidate, matched: int) -> dict[str, Any]:
        uncached = _uncached(self.request, matched) if self.request else 0
        seconds = ttft.seconds(c.pending_tokens, uncached, c.running, c.prefill_rate)
        return {
            "replica": c.replica,
            "matched": matched,
            "load": c.load,
            "pending_tokens": c.pending_tokens,
            "kv_usage": round(c.kv_usage, 3),
            "ttft_ms": round(seconds * 1000, 1),
        }


class Chooser:
    """Policy `prefix`, `least-load`, `round-robin` or `session`; knows where prompts were sent."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.index = PrefixIndex()
        self._rank = _POLICIES[policy]
        self._digests: dict[str, int] = {}

    def choose(self, request: Request, candidates: Sequence[Candidate], now: float) -> Choice | None:  # noqa: ARG002
        """The replica that should serve `request`; None if there are no candidates. `now` in seconds."""
        if not candidates:
            return None
        usable, left_out = eligible(candidates, request.model)
        matches = self.index.match(request.blocks)
        ranked, reason = self._rank(self, request, usable, matches)
        best = ranked[0][1]
        matched = matches.get(best.replica, 0)
        return Choice(
            best,
            reason or _reason(request, matched),
            tuple([c for _, c in ranked[1 : 1 + _FALLBACKS]]),
            matched,
            _uncached(request, matched),
            self.policy,
            tuple(ranked),
            matches,
            left_out,
            request,
        )

    def commit(self, request: Request, choice: Choice) -> None:
        """The request goes to the chosen replica, which will hold its prompt."""
        rest = request.prompt_tokens * CHARS_PER_TOKEN - _chars(len(request.blocks))
        self.index.insert(choice.candidate.replica, request.blocks, max(0, rest))

    def resize(self, replica: str, kv_tokens: int) -> None:
        """The KV cache of `replica` holds `kv_tokens` tokens."""
        self.index.resize(replica, kv_tokens)

    def forget(self, replica: str) -> None:
        """`replica` has started anew: its cache is empty."""
        self.index.forget(replica)

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget replicas that no longer exist."""
        self.index.keep_only(names)

    def rendezvous(self, anchor: int, replica: str) -> int:
        """A number that all routers compute alike for a prompt and a replica; the highest wins."""
        digest = self._digests.get(replica)
        if digest is None:
            digest = self._digests[replica] = digest64(replica)
        mixed = (anchor ^ digest) * 0x9E3779B97F4A7C15 & _MASK
        mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 & _MASK
        return mixed ^ mixed >> 32


Ranked = list[tuple[float, Candidate]]


def _by_prefix(
    chooser: Chooser, request: Request, usable: Sequence[Candidate], matches: Mapping[str, int]
) -> tuple[Ranked, str]:
    rows = []
    for c in usable:
        uncached = _uncached(request, matches.get(c.replica, 0))
        rows.append((ttft.work(c.pending_tokens, uncached, c.running), c))
    limit = min(rows, key=_cost)[0] + _TIE_TOKENS
    rows.sort(
        key=lambda row: (
            (0, row[1].load, -chooser.rendezvous(request.anchor, row[1].replica)) if row[0] <= limit else (1, row[0], 0)
        )
    )
    return rows, ""


def _by_load(
    chooser: Chooser, request: Request, usable: Sequence[Candidate], matches: Mapping[str, int]
) -> tuple[Ranked, str]:  # noqa: ARG001
    return [(float(c.load), c) for c in sorted(usable, key=lambda c: (c.load, c.last_pick))], "least-load"


def _in_turn(
    chooser: Chooser, request: Request, usable: Sequence[Candidate], matches: Mapping[str, int]
) -> tuple[Ranked, str]:  # noqa: ARG001
    return [(float(c.last_pick), c) for c in sorted(usable, key=lambda c: c.last_pick)], "round-robin"


def _by_session(
    chooser: Chooser, request: Request, usable: Sequence[Candidate], matches: Mapping[str, int]
) -> tuple[Ranked, str]:
    if not request.session:
        return _by_prefix(chooser, request, usable, matches)
    anchor = digest64(request.session)
    bound = _BOUND * (sum(c.load for c in usable) + 1) / len(usable)
    order = sorted(usable, key=lambda c: (c.load >= bound, -chooser.rendezvous(anchor, c.replica)))
    return [(float(c.load), c) for c in order], "session"


Rank = Callable[[Chooser, Request, Sequence[Candidate], Mapping[str, int]], tuple[Ranked, str]]
_POLICIES: dict[str, Rank] = {
    "prefix": _by_prefix,
    "least-load": _by_load,
    "round-robin": _in_turn,
    "session": _by_session,
}


def _cost(row: tuple[float, Candidate]) -> float:
    return row[0]


def _chars(blocks: int) -> int:
    return CHARS_BEFORE[min(blocks, len(CHARS_BEFORE) - 1)]


def _uncached(request: Request, matched: int) -> int:
    return max(0, request.prompt_tokens - _chars(matched) // CHARS_PER_TOKEN)


def _reason(request: Request, matched: int) -> str:
    return f"prefix {matched}/{len(request.blocks)}" if matched else "least-load"
