"""Chooses a replica for each request: filters (`core.py`) → cost on each replica by the policy → the cheapest.

No I/O, no clock, no randomness: ties go by rendezvous hashing over the start of the prompt, so that two routers that
have seen different requests still place a new prompt alike.
"""

from collections.abc import Iterable, Mapping, Sequence

from manta_runtime.router.picker import ttft
from manta_runtime.router.picker.choice import Choice
from manta_runtime.router.picker.core import Candidate, eligible
from manta_runtime.router.picker.lengths import Lengths
from manta_runtime.router.picker.prefix import PrefixIndex
from manta_runtime.router.picker.prompts import CHARS_PER_TOKEN, cached_tokens, digest64
from manta_runtime.router.picker.request import Request
from manta_runtime.router.picker.share import Share

_MASK = (1 << 64) - 1
# A session stays with its replica up to this many times the mean load (and one request more).
_SESSION_BOUND = 1.25
# As many requests are added to the mean load, so that a handful of requests is no excess.
_PRIOR_LOAD = 8.0

Ranked = list[tuple[float, Candidate]]
Matches = Mapping[str, int]


class Chooser:
    """Policy `prefix`, `least-load`, `round-robin` or `session`; knows where prompts were sent."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.index = PrefixIndex()
        self.share = Share()
        self.lengths = Lengths()
        self._rank = {
            "prefix": self._by_cost,
            "least-load": self._by_load,
            "round-robin": self._in_turn,
            "session": self._by_session,
        }[policy]
        self._digests: dict[str, int] = {}

    def choose(self, request: Request, candidates: Sequence[Candidate], now: float) -> Choice | None:
        """The replica that should serve `request`; None if there are no candidates. `now` in seconds."""
        if not candidates:
            return None
        usable, left_out = eligible(candidates, request.model)
        matches = self.index.match(request.blocks)
        ranked, reason = self._rank(request, usable, matches)
        best = ranked[0][1]
        matched = matches.get(best.replica, 0)
        prompt = request.prompt_tokens
        work = ttft.work(prompt, min(prompt, cached_tokens(matched)))
        return Choice(best, reason, matched, int(work), now, self.policy, request, ranked, matches, left_out)

    def commit(self, request: Request, choice: Choice) -> None:
        """The request goes to the chosen replica, which will hold its prompt."""
        replica = choice.candidate.replica
        rest = (request.prompt_tokens - cached_tokens(len(request.blocks))) * CHARS_PER_TOKEN
        self.index.insert(replica, request.blocks, rest + self.lengths.answer_chars)
        self.share.add(replica, request.prompt_tokens, choice.now)

    def learned(self, request: Request, prompt_tokens: int, completion_tokens: int) -> None:
        """The prompt had so many tokens and its answer so many, says the `usage` of the answer."""
        if prompt_tokens > 0 and request.prompt_tokens > 0:
            self.lengths.learn(request.prompt_tokens * CHARS_PER_TOKEN, prompt_tokens, completion_tokens)
            self.index.chars_per_token = self.lengths.chars_per_token

    def resize(self, replica: str, kv_tokens: int) -> None:
        """The KV cache of `replica` holds `kv_tokens` tokens."""
        self.index.resize(replica, kv_tokens)

    def forget(self, replica: str) -> None:
        """`replica` has started anew: its cache is empty."""
        self.index.forget(replica)

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget replicas that no longer exist."""
        names = set(names)
        self.index.keep_only(names)
        self.share.keep_only(names)
        self._digests = {name: digest for name, digest in self._digests.items() if name in names}

    def _by_cost(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Ranked, str]:
        """The least expected time to first token, delay of others included (`ttft.py`)."""
        costs = self._costs(request, usable, matches)
        limit = min(costs) + ttft.TIE
        tied = [c for c, cost in zip(usable, costs, strict=True) if cost <= limit]
        places = self._rendezvous(request.head, tied) if len(tied) > 1 else {}
        order = [
            (0.0, c.load, places.get(c.replica, 0), cost, place) if cost <= limit else (cost, c.load, 0, cost, place)
            for place, (c, cost) in enumerate(zip(usable, costs, strict=True))
        ]
        order.sort()
        ranked = [(row[3], usable[row[4]]) for row in order]
        matched = matches.get(ranked[0][1].replica, 0)
        return ranked, f"prefix {matched}/{len(request.blocks)}" if matched else "least-cost"

    def _costs(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> list[float]:
        prompt, weight, excess = request.prompt_tokens, 1.0 + ttft.EXTERNALITY, ttft.excess
        whole = weight * ttft.work(prompt, 0)
        sent, (mean_sent, scale_sent) = self.share.sent, self.share.scale()
        mean_load = sum([c.load for c in usable]) / len(usable)
        scale_load = mean_load + _PRIOR_LOAD
        rates = [c.prefill_rate for c in usable if c.prefill_rate]
        mean_rate = sum(rates) / len(rates) if rates else 0.0
        costs = []
        for c in usable:
            matched = matches.get(c.replica)
            own = whole if matched is None else weight * ttft.work(prompt, min(prompt, cached_tokens(matched)))
            cost = (c.pending_tokens + own) * (1.0 + c.load * ttft.INTERFERENCE)
            if mean_rate:
                cost *= ttft.slowness(c.prefill_rate, mean_rate)
            above = (sent.get(c.replica, mean_sent) - mean_sent) / scale_sent
            if above > 0.0:
                cost += whole * excess(above)
            above = (c.load - mean_load) / scale_load
            if above > 0.0:
                cost += whole * excess(above)
            costs.append(cost)
        return costs

    def _by_load(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Ranked, str]:  # noqa: ARG002
        order = sorted([(c.load, c.last_pick, place) for place, c in enumerate(usable)])
        return [(float(row[0]), usable[row[2]]) for row in order], "least-load"

    def _in_turn(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Ranked, str]:  # noqa: ARG002
        order = sorted([(c.last_pick, place) for place, c in enumerate(usable)])
        return [(float(row[0]), usable[row[1]]) for row in order], "round-robin"

    def _by_session(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Ranked, str]:
        """Always the same replica for a session, unless it has far more than its share; then the next one."""
        ranked, reason = self._by_cost(request, usable, matches)
        if not request.session:
            return ranked, reason
        bound = _SESSION_BOUND * sum([c.load for c in usable]) / len(usable) + 1.0
        places = self._rendezvous(request.session, usable)
        home = min(usable, key=lambda c: (c.load > bound, places[c.replica]))
        return [row for row in ranked if row[1] is home] + [row for row in ranked if row[1] is not home], "session"

    def _rendezvous(self, text: str, replicas: Iterable[Candidate]) -> dict[str, int]:
        """Numbers that all routers compute alike for a text and each replica; the lowest wins."""
        digests = self._digests
        key = digest64(text) | 1
        places = {}
        for c in replicas:
            digest = digests.get(c.replica)
            if digest is None:
                digest = digests[c.replica] = digest64(c.replica)
            places[c.replica] = digest * key & _MASK
        return places
