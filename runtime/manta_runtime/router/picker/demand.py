"""What the operator scales by: requests as they came, what engines say of themselves, and who waits (`GET /demand`).

Counters are plain numbers that only grow, since this process began; whoever reads them takes differences. Pure: the
Decider tells of requests, `looks.py` of engines, `picker.py` serves the document.

A prompt's tokens are counted when it comes, which is before any engine has counted them, so they are the router's
estimate (characters / 4) times what that was wrong by of late:

    tokens  =  estimate · ratio            ratio  =  Σ tokens that engines counted / Σ estimates, older ones fading
    pairs   =  tokens² / 2                 what attention costs: each token looks at all before it

Prompts of which nothing can be estimated (audio) are added when their engine has counted them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.scrape import Buckets, Look

OLDEST_SECONDS = 10.0
"""An engine that was last seen longer ago is not told of."""
# What is assumed at first weighs as much as this many tokens; older prompts count half after about so many.
_PRIOR_TOKENS, _MEMORY_TOKENS = 2_000.0, 2_000_000.0
_MOST_TOKENS = 1 << 24  # of one request: no engine has a longer context, whatever it says
_REMEMBERED = 4096


class Demand:
    """Counters of requests. `instance` is another one after each start. All others are to be read only.

    `deployment`: namespace and name of whose router it is; empty: not known.
    """

    def __init__(self, instance: str, deployment: str = "") -> None:
        self.instance, self.deployment = instance, deployment
        self.requests = 0
        self.tokens_in = 0.0
        self.pairs = 0.0
        self.tokens_out = 0
        self.answers = 0
        self._told, self._estimated = _PRIOR_TOKENS, _PRIOR_TOKENS
        self._ratio = 1.0
        self._counted: dict[str, None] = {}  # counted, and not here any more: may be asked about again

    def came(self, request_id: str, estimated: int) -> None:
        """A request was let in, of so many prompt tokens; one that was counted before is not counted again."""
        if self._counted and request_id in self._counted:
            del self._counted[request_id]
            return
        tokens = min(estimated * self._ratio, _MOST_TOKENS)
        self.requests += 1
        self.tokens_in += tokens
        self.pairs += tokens * tokens / 2

    def left(self, request_id: str) -> None:
        """Whoever asked about a request that was let in has gone without an answer, and may ask again."""
        if request_id:
            self._counted[request_id] = None
            if len(self._counted) > _REMEMBERED:
                del self._counted[next(iter(self._counted))]

    def answered(self, estimated: int, prompt: int, completion: int) -> None:
        """An engine counted the tokens of a prompt and of its answer."""
        prompt, completion = min(max(prompt, 0), _MOST_TOKENS), min(max(completion, 0), _MOST_TOKENS)
        self.answers += 1
        self.tokens_out += completion
        if not estimated:
            self.tokens_in += prompt
            self.pairs += prompt * prompt / 2
        elif prompt:
            if self._told > _MEMORY_TOKENS:
                self._told /= 2
                self._estimated /= 2
            self._told += prompt
            self._estimated += estimated
            self._ratio = self._told / self._estimated


@dataclass(slots=True)
class _Seen:
    """`falls`: how often its counters have fallen, while it said that it was the same process."""

    look: Look
    at: float
    falls: int = 0


class Engines:
    """The last look at each engine, while it is usable."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def looked(self, replica: str, look: Look, asked_at: float) -> None:
        """What it said of itself, asked at `asked_at` (seconds)."""
        before = self._seen.get(replica)
        if before is None:
            self._seen[replica] = _Seen(look, asked_at)
            return
        before.falls += _has_fallen(before.look, look)
        before.look, before.at = look, asked_at

    def silent(self, replica: str) -> None:
        """It says nothing of itself any more."""
        if replica in self._seen:
            self._seen[replica].at = float("-inf")

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Forget replicas that no longer exist."""
        keep = set(replicas)
        self._seen = {name: seen for name, seen in self._seen.items() if name in keep}

    def told(self, usable: Iterable[Endpoint], in_flight: Mapping[str, int], now: float) -> dict[str, Any]:
        """The usable ones that were seen lately, by group (as in /loads); `in_flight`: of this router, by replica."""
        found = {}
        for endpoint in usable:
            seen = self._seen.get(endpoint.name)
            if seen is not None and now - seen.at <= OLDEST_SECONDS:
                instance = f"{endpoint.uid}/{seen.look.started}/{seen.falls}"
                about = {"age": round(max(0.0, now - seen.at), 3), "instance": instance}
                told = about | _told(seen.look) | {"inFlight": in_flight.get(endpoint.name, 0)}
                found[endpoint.name.rpartition("-")[0]] = told
        return found


def document(
    demand: Demand, engines: Mapping[str, Any], *, in_flight: int, held: int, queue_age: float, usable: int
) -> dict[str, Any]:
    """What /demand tells; `queue_age`: seconds that the one held longest has waited."""
    whose = {"deployment": demand.deployment} if demand.deployment else {}
    return whose | {
        "instance": demand.instance,
        "requests": demand.requests,
        "tokensIn": round(demand.tokens_in),
        "pairs": demand.pairs,
        "tokensOut": demand.tokens_out,
        "answers": demand.answers,
        "inFlight": in_flight,
        "held": held,
        "queueAge": round(queue_age, 3),
        "usable": usable,
        "engines": engines,
    }


def _told(look: Look) -> dict[str, Any]:
    return {
        "waiting": look.waiting,
        "running": look.running,
        "kvUsage": min(1.0, look.kv_usage),
        "promptTokens": look.prompt_tokens,
        "generatedTokens": look.generated_tokens,
        "firstToken": _buckets(look.first_token),
        "betweenTokens": _buckets(look.between_tokens),
        "hitTokens": look.hit_tokens,
    }


def _buckets(found: Buckets | None) -> dict[str, Any] | None:
    return None if found is None else {"bounds": found.bounds, "counts": found.counts}


def _has_fallen(before: Look, look: Look) -> bool:
    """Whether a counter is lower than it was: the engine behind it is not the one of before."""
    pairs = [(before.prompt_tokens, look.prompt_tokens), (before.generated_tokens, look.generated_tokens)]
    for old, new in ((before.first_token, look.first_token), (before.between_tokens, look.between_tokens)):
        if old is not None and new is not None:
            pairs.append((sum(old.counts), sum(new.counts)))
    return any(old is not None and new is not None and new < old for old, new in pairs)
