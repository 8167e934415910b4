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

    def _by_cost(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> tuple[Order, str]:
        """The least expected time to first token, delay of others included (`ttft.py`)."""
        costs = self._costs(request, usable, matches)
        order = sorted(zip(costs, range(len(costs)), strict=True))
        limit = order[0][0] + ttft.TIE
        if len(order) > 1 and order[1][0] <= limit:
            order = self._untied(order, limit, request.head, usable)
        matched = matches.get(usable[order[0][1]].replica, 0)
        return order, f"prefix {matched}/{len(request.blocks)}" if matched else "least-cost"

    def _untied(self, order: Order, limit: float, head: str, usable: Sequence[Candidate]) -> Order:
        """Among equals the fewest in flight, and of those the one that all routers would take for this prompt."""
        tied = sorted([(usable[place].load, cost, place) for cost, place in order if cost <= limit])
        least = [row for row in tied if row[0] == tied[0][0]]
        if not head:
            least.sort(key=lambda row: usable[row[2]].last_pick)
        elif len(least) > 1:
            places = self._rendezvous(head, [usable[row[2]] for row in least])
            least.sort(key=lambda row: places[usable[row[2]].replica])
        return [(cost, place) for _, cost, place in least + tied[len(least) :]] + order[len(tied) :]

    def _costs(self, request: Request, usable: Sequence[Candidate], matches: Matches) -> list[float]:
        prompt, weight = request.prompt_tokens, 1.0 + ttft.EXTERNALITY
        whole = weight * ttft.work(prompt, 0)
        sent = self.share.sent
        for c in usable:
            if c.replica not in sent:
                self.share.join(c.replica)
        mean_sent, scale_sent = self.share.scale()
        mean_load = sum([c.load for c in usable]) / len(usable)
        scale_load = mean_load + _PRIOR_LOAD
        rates = [c.prefill_rate for c in usable if c.prefill_rate]
        mean_rate = sum(rates) / len(rates) if rates else 0.0
        slow, fast = mean_rate / ttft.SAME_RATE, mean_rate * ttft.SAME_RATE
        home = self._home(request, usable) if self.routers > 1 else ""
        costs = []
        for c in usable:
            name, load = c.replica, c.load
            matched = matches.get(name, 0)
            own = weight * ttft.work(prompt, min(prompt, cached_tokens(matched))) if matched else whole
            if name == home:
                own = min(own, whole * ttft.HOME)
            cost = (c.pending_tokens + own) * (1.0 + load * ttft.INTERFERENCE)
            if rates and not slow < c.prefill_rate < fast:
                cost *= ttft.slowness(c.prefill_rate, mean_rate)
            above = sent[name]
            if above > mean_sent:
                cost += whole * ttft.excess((above - mean_sent) / scale_sent, ttft.TOKENS_BOUND)
            if load > mean_load:
                cost += whole * ttft.excess((load - mean_load) / scale_load, ttft.LOAD_BOUND)
            costs.append(cost)
        return costs

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
        places = self._rendezvous(request.session, usable)
        home = min(range(len(usable)), key=lambda place: (usable[place].load > bound, places[usable[place].replica]))
        return sorted(order, key=lambda row: row[1] != home), "session"

    def _home(self, request: Request, usable: Sequence[Candidate]) -> str:
        """Where every router would send a conversation that it does not know."""
        places = self._rendezvous(request.head, usable)
        return min(places, key=places.__getitem__)

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
