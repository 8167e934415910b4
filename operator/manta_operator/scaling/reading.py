"""What a router says of itself (`GET /demand`), to values. Pure; the controller asks, and passes answers on.

    read      one document, whoever wrote it; None: it is no such document
    engines   what all routers saw of each replica's engine: the newest look

Somebody else's container may answer: anything, at any length, of any type. A document counts in whole or not at all,
but for its engines: what of them makes no sense is left out, and so is missing. `ledger.py` adds the counters up.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from manta_operator.scaling.signals import EngineSignals, Histogram

STALE_SECONDS = 10.0
"""Looks at engines that are older say nothing."""
SAME_SECONDS = 2.0
"""Looks that are no further apart tell the same: routers look once a second."""
MOST_ENGINES = 4096
_MOST = 2**53
"""Above it floats do not count any more, and no counter of a router comes there."""
_MOST_PAIRS = 1e30
_MOST_SECONDS = 1e9
_MOST_AT_ONCE = 10**7
_MOST_BUCKETS = 128
_LONGEST_NAME = 253

Counts = tuple[float, float, float, float, float]
"""Requests, tokens in, tokens out, answers, pairs: the counters of a Demand."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One router's look at a replica's engine, `age` seconds ago; `instance` is another one after each start.

    `in_flight`: requests of this router. `hit_tokens`: prompt tokens that its cache has saved; None: it counts none.
    """

    age: float
    instance: str
    signals: EngineSignals
    in_flight: int
    hit_tokens: float | None


@dataclass(frozen=True, slots=True)
class Document:
    """What a router says. `counts` since `instance` began; `usable`: replicas it may choose; `engines` by replica."""

    instance: str
    counts: Counts
    in_flight: int
    held: int
    queue_age: float
    usable: int
    engines: Mapping[str, Engine] = field(default_factory=dict)


def read(document: object, whose: str | None = None) -> Document | None:
    """Return the values of a router's document; None if it is none: somebody else's container may answer anything.

    Args:
        document: What was answered.
        whose: Namespace and name of the deployment whose router was asked; one that calls itself another's is none.
    """
    if not isinstance(document, dict):
        return None
    if whose is not None and document.get("deployment", whose) != whose:
        return None
    said = document.get("engines")
    names = ("requests", "tokensIn", "tokensOut", "answers")
    counts = [_number(document.get(name)) for name in names] + [_number(document.get("pairs", 0), _MOST_PAIRS)]
    now = [_count(document.get(name)) for name in ("inFlight", "held", "usable")]
    age, instance = _number(document.get("queueAge"), _MOST_SECONDS), _text(document.get("instance"))
    if instance is None or age is None or not isinstance(said, dict) or len(said) > MOST_ENGINES:
        return None
    if any(value is None for value in (*counts, *now)):
        return None
    requests, tokens_in, tokens_out, answers, pairs = (value or 0.0 for value in counts)
    in_flight, held, usable = (value or 0 for value in now)
    looked = {name: _engine(each) for name, each in said.items() if _text(name)}
    found = {name: each for name, each in looked.items() if each is not None}
    return Document(instance, (requests, tokens_in, tokens_out, answers, pairs), in_flight, held, age, usable, found)


def engines(documents: Iterable[tuple[Document, float]]) -> dict[str, Engine]:
    """Return the newest look at each replica, with the requests that all routers have there.

    Of looks that are about as new always the first router's: routers count for themselves how often an engine that says
    nothing of its start has begun anew, and a change from one to the other would look like another start.

    Args:
        documents: Each with the seconds since it was read, always in the same order.
    """
    found: dict[str, list[Engine]] = {}
    for document, since in documents:
        for name, engine in document.engines.items():
            if (age := engine.age + since) <= STALE_SECONDS:
                found.setdefault(name, []).append(replace(engine, age=age))
    return {name: _chosen(looks) for name, looks in found.items()}


def _chosen(looks: Sequence[Engine]) -> Engine:
    newest = min(look.age for look in looks)
    first = next(look for look in looks if look.age <= newest + SAME_SECONDS)
    return replace(first, in_flight=sum(look.in_flight for look in looks))


def _engine(said: object) -> Engine | None:
    if not isinstance(said, dict):
        return None
    age, instance = _number(said.get("age"), _MOST_SECONDS), _text(said.get("instance"))
    waiting, running, mine = (_count(said.get(name)) for name in ("waiting", "running", "inFlight"))
    usage = _number(said.get("kvUsage"), 1.0)
    if age is None or instance is None or waiting is None or running is None or mine is None or usage is None:
        return None
    prompts, generated, hits = (_number(said.get(name)) for name in ("promptTokens", "generatedTokens", "hitTokens"))
    first, between = _histogram(said.get("firstToken")), _histogram(said.get("betweenTokens"))
    return Engine(age, instance, EngineSignals(waiting, running, usage, prompts, generated, first, between), mine, hits)


def _histogram(said: object) -> Histogram | None:
    """Return a histogram whose buckets make sense; None for anything else."""
    edges, numbers = (said.get("bounds"), said.get("counts")) if isinstance(said, dict) else (None, None)
    if not isinstance(edges, list) or not isinstance(numbers, list):
        return None
    if not 0 < len(edges) <= _MOST_BUCKETS or len(numbers) != len(edges) + 1:
        return None
    bounds = [value for value in (_number(each, _MOST_SECONDS) for each in edges) if value is not None]
    counts = [value for value in (_count(each, _MOST) for each in numbers) if value is not None]
    if len(bounds) != len(edges) or len(counts) != len(numbers):
        return None
    if any(low >= high for low, high in itertools.pairwise(bounds)):
        return None
    return Histogram(tuple(bounds), tuple(counts))


def _number(value: object, most: float = _MOST) -> float | None:
    """Return a number from 0 to `most`; None for anything else, NaN and booleans included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return float(value)


def _count(value: object, most: int = _MOST_AT_ONCE) -> int | None:
    number = _number(value, most)
    return int(number) if number is not None and number.is_integer() else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None
