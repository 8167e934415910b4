"""Chooses a replica for each request: filters (`core.py`) → cost on each replica by the policy → the cheapest.

No I/O, no clock, no randomness: ties go by rendezvous hashing over the start of the prompt, so that two routers that
have seen different requests still place a new prompt alike.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from manta_runtime.router.picker import ttft
from manta_runtime.router.picker.choice import Choice
from manta_runtime.router.picker.core import Candidate, eligible
from manta_runtime.router.picker.lengths import Lengths
from manta_runtime.router.picker.prefix import PrefixIndex
from manta_runtime.router.picker.prompts import CHARS_PER_TOKEN, cached_tokens, digest64
from manta_runtime.router.picker.request import Request
from manta_runtime.router.picker.share import NEW_REQUESTS, Share

_MASK = (1 << 64) - 1
# A session stays with its replica up to this many times the mean load (and one request more).
_SESSION_BOUND = 1.25
# As many requests are added to the mean load, so that a handful of requests is no excess.
_PRIOR_LOAD = 8.0
# Excess below this part of its bound costs less than any difference that decides.
_EVEN = 0.25
# A newcomer is one no more when it has been asked, and has this part of the mean load.
_SETTLED = 0.75
# One that has got less than the mean by this part of it, over many requests, is forgotten: a newcomer again.
_FEW = 0.75
# Estimates of tokens this close to what was counted need no correction.
_CLOSE = 0.25
# The mean of the learned rates is computed once in so many choices.
_RATES_EVERY = 15

# Cost and place among the usable, the best first.
Order = list[tuple[float, int]]
Matches = Mapping[str, int]


class Chooser:
    """Policy `prefix`, `least-load`, `round-robin` or `session`; knows where prompts were sent.

    `routers`: how many there are, this one included. Each knows its own requests only; so with several, a conversation
    that this one does not know may be cached where the others would have sent it.
    """

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.index = PrefixIndex()
        self.share = Share()
        self.lengths = Lengths()
        self.routers = 1
        self._rank = {
            "prefix": self._by_cost,
            "least-load": self._by_load,
            "round-robin": self._in_turn,
            "session": self._by_session,
        }[policy]
        self._digests: dict[str, int] = {}
        self._mean_rate = (0.0, 0.0, math.inf)
        self._until_rates = 0

    def choose(self, request: Request, candidates: Sequence[Candidate], now: float) -> Choice | None:
        """The replica that should serve `request`; None if there are no candidates. `now` in seconds."""
        if not candidates:
            return None
        usable, left_out = eligible(candidates, request.model)
        matches = self.index.match(request.blocks)
        order, reason = self._rank(request, usable, matches)
        best = usable[order[0][1]]
        matched = matches.get(best.replica, 0)
        prompt = request.prompt_tokens
        work = ttft.work(prompt, min(prompt, cached_tokens(matched)))
        return Choice(best, reason, matched, int(work), now, self.policy, request, usable, order, matches, left_out)

    def commit(self, request: Request, choice: Choice) -> int:
        """The request goes to the chosen replica, which will hold its prompt. Returns what `settled` wants to know."""
        replica = choice.candidate.replica
        rest = (request.prompt_tokens - cached_tokens(len(request.blocks))) * CHARS_PER_TOKEN
        self.index.insert(replica, request.blocks, rest + self.lengths.answer_chars)
        return self.share.add(replica, request.prompt_tokens, choice.now)

    def settled(self, replica: str, counted: int, prompt_tokens: int, at: float) -> None:
        """The request that went to `replica` at `at` had so many tokens; 0: the engine did not work on it."""
        if abs(prompt_tokens - counted) > counted * _CLOSE:
            self.share.correct(replica, counted, prompt_tokens, at)

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
        self.share.forget(replica)

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget replicas that no longer exist."""
        names = set(names)
        self.index.keep_only(names)
        self.share.keep_only(names)
        self._digests = {name: digest for name, digest in self._digests.items() if name in names}

    def _by_cost(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Order, str]:
        """The least expected time to first token, delay of others included (`ttft.py`)."""
        order = self._costs(request, usable, matches)
        if self.share.newcomers:
            self._welcome(order, usable)
        order.sort()
        limit = order[0][0] + ttft.TIE
        if len(order) > 1 and order[1][0] <= limit:
            order = self._untied(order, limit, request.head, usable)
        matched = matches.get(usable[order[0][1]].replica, 0)
        return order, f"prefix {matched}/{len(request.blocks)}" if matched else "least-cost"

    def _untied(self, order: Order, limit: float, head: str, usable: Sequence[Candidate]) -> Order:
        """Among equals the fewest in flight, and of those the one that all routers would take for this prompt."""
        tied = sorted([(usable[place].load, cost, place) for cost, place in order if cost <= limit])
        fewest = tied[0][0]
        if tied[1][0] > fewest:
            return [(cost, place) for _, cost, place in tied] + order[len(tied) :]
        least = [(cost, place) for load, cost, place in tied if load == fewest]
        if head:
            ranks = self._rendezvous(head, [usable[place].replica for _, place in least])
        else:
            ranks = [usable[place].last_pick for _, place in least]
        least = [row for _, row in sorted(zip(ranks, least, strict=True))]
        return least + [(cost, place) for _, cost, place in tied[len(least) :]] + order[len(tied) :]

    def _costs(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> Order:
        """What the request costs on each of them (`ttft.py`). The picker's inner loop: no calls without need."""
        prompt, weight = request.prompt_tokens, 1.0 + ttft.EXTERNALITY
        whole = weight * ttft.work(prompt, 0)
        sent, (mean_sent, scale_sent) = self.share.sent, self.share.scale()
        even_sent = mean_sent + _EVEN * ttft.TOKENS_BOUND * scale_sent
        few_sent = max(0.0, mean_sent - _FEW * scale_sent)
        loads = 0
        for c in usable:
            loads += c.load
        mean_load = loads / len(usable)
        scale_load = mean_load + _PRIOR_LOAD
        even_load = mean_load + _EVEN * ttft.LOAD_BOUND * scale_load
        mean_rate, slow, fast = self._rates(usable)
        home = self._home(request, usable) if self.routers > 1 else ""
        costs: Order = []
        priced, rest = 0, whole
        for place, c in enumerate(usable):
            name, load = c.replica, c.load
            own, depth = whole, matches.get(name)
            if depth:
                if depth != priced:  # mostly they hold equally much
                    rest, priced = weight * ttft.work(prompt, min(prompt, cached_tokens(depth))), depth
                own = rest
            if name == home and own > whole * ttft.HOME:
                own = whole * ttft.HOME
            cost = (c.pending_tokens + own) * (1.0 + load * ttft.INTERFERENCE)
            if not slow <= c.prefill_rate <= fast:
                cost *= ttft.slowness(c.prefill_rate, mean_rate)
            got = sent.get(name, -1.0)
            if got < few_sent:
                self.share.join(name)
            elif got > even_sent:
                cost += whole * ttft.excess((got - mean_sent) / scale_sent, ttft.TOKENS_BOUND)
            if load > even_load:
                cost += whole * ttft.excess((load - mean_load) / scale_load, ttft.LOAD_BOUND)
            costs.append((cost, place))
        return costs

    def _welcome(self, costs: Order, usable: Sequence[Candidate]) -> None:
        """What a newcomer computes delays nobody and pushes nothing out of its empty cache: only its queue costs.

        Without this it waits for minutes: who holds a prefix is asked for it, until it has far more than its share.
        """
        newcomers = self.share.newcomers
        part = _SETTLED * sum([c.load for c in usable]) / len(usable)
        for place, c in enumerate(usable):
            left = newcomers.get(c.replica)
            if left and (c.load < part or (not c.load and left == NEW_REQUESTS)):
                costs[place] = (float(c.pending_tokens), place)
            elif left and left < NEW_REQUESTS:
                del newcomers[c.replica]

    def _rates(self, usable: Sequence[Candidate]) -> tuple[float, float, float]:
        """The mean of the learned rates, and between which rates a replica is an average one; they change slowly."""
        self._until_rates -= 1
        if self._until_rates < 0:
            self._until_rates = _RATES_EVERY
            rates = [c.prefill_rate for c in usable if c.prefill_rate]
            mean = sum(rates) / len(rates) if rates else 0.0
            same = ttft.SAME_RATE if len(rates) == len(usable) else math.inf
            self._mean_rate = (mean, mean / same, mean * same) if rates else (0.0, 0.0, math.inf)
        return self._mean_rate

    def _by_load(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Order, str]:  # noqa: ARG002
        order = sorted([(c.load, c.last_pick, place) for place, c in enumerate(usable)])
        return [(float(row[0]), row[2]) for row in order], "least-load"

    def _in_turn(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Order, str]:  # noqa: ARG002
        return sorted([(float(c.last_pick), place) for place, c in enumerate(usable)]), "round-robin"

    def _by_session(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Order, str]:
        """Always the same replica for a session, unless it has far more than its share; then the next one."""
        order, reason = self._by_cost(request, usable, matches)
        if not request.session:
            return order, reason
        bound = _SESSION_BOUND * sum([c.load for c in usable]) / len(usable) + 1.0
        ranks = self._rendezvous(request.session, [c.replica for c in usable])
        home = min(range(len(usable)), key=lambda place: (usable[place].load > bound, ranks[place]))
        return sorted(order, key=lambda row: row[1] != home), "session"

    def _home(self, request: Request, usable: Sequence[Candidate]) -> str:
        """Where every router would send a conversation that it does not know."""
        names = [c.replica for c in usable]
        return min(zip(self._rendezvous(request.head, names), names, strict=True))[1]

    def _rendezvous(self, text: str, names: Sequence[str]) -> list[int]:
        """Numbers that all routers compute alike for a text and each replica; the lowest wins."""
        digests, key = self._digests, digest64(text) | 1
        try:
            return [digests[name] * key & _MASK for name in names]
        except KeyError:
            digests.update({name: digest64(name) for name in names})
            return [digests[name] * key & _MASK for name in names]
