"""Whether answers become slower in a line, as the operator's scaling/slowdown.py takes it: points, line, limit. Pure.

    v = A - B w          v: tokens a second of each running sequence, w: work a second; least squares over windows
    limit                what slowdown.capacity() makes of the windows, as if each had come often enough to be believed

The same formulas and the same windows as there, but shorter ones: one engine gives too few of 30 s. How many run is a
look every 2 s there; what the engine sums up of the times between tokens says the same without chance (`exactly`).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from manta_operator.scaling.slowdown import LEAST_RUNNING, LEAST_WORK, MOST_WORK, Line, Shown, Sums, capacity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manta_operator.scaling.settings import Estimate
    from manta_operator.scaling.signals import EngineSignals

_MANY = 80.0
"""Windows with which slowdown.py believes a line as far as its error lets it."""
_LEAST_POINTS = 3
_BETWEEN = b"vllm:inter_token_latency_seconds_"


class Seen(NamedTuple):
    """One look at the engine, and when (s). `tokens` that came after another, `waited` for them all (s)."""

    at: float
    engine: EngineSignals
    tokens: float = 0.0
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """A window: prompt tokens and generated tokens a second, means of the looks; `waits`: a request did at its end.

    `decoding`: as many sequences as the times between tokens add up to; 0 where they are not known.
    """

    prompt: float
    generated: float
    running: float
    kv_usage: float
    waits: bool
    decoding: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens a second of each sequence."""
        return self.generated / self.running if self.running else 0.0

    def work(self, estimate: Estimate) -> float:
        """Return the work a second, in seconds of a replica as estimated."""
        return self.prompt / estimate.prefill_tokens_per_s + estimate.answers(self.generated)

    def counts(self, estimate: Estimate) -> bool:
        """Whether slowdown.py would learn from it."""
        fits = LEAST_WORK <= self.work(estimate) <= MOST_WORK
        return fits and not self.waits and self.running >= LEAST_RUNNING


class Fit(NamedTuple):
    """The line, how much of the variance it explains (`share`: R squared), and what it says of the limit.

    `stand`: A / B; `limit`: what slowdown.capacity() says, 0 where it learns nothing; `sure`: how sure it would be.
    """

    alone: float = 0.0
    slope: float = 0.0
    share: float = 0.0
    stand: float = 0.0
    limit: float = 0.0
    sure: float = 0.0
    number: int = 0

    def at(self, work: float) -> float:
        """Return the speed that the line says of this work."""
        return self.alone - self.slope * work


def windows(looks: Sequence[Seen], seconds: float) -> list[Point]:
    """Return what each window showed: it ends with the first look that is `seconds` after the one it began with."""
    found: list[Point] = []
    first = 0
    for last, look in enumerate(looks):
        if last > first and look.at - looks[first].at >= seconds - 1e-6:
            found.append(between(looks[first : last + 1]))
            first = last
    return found


def between(looks: Sequence[Seen]) -> Point:
    """Return what all these looks show; the first one's counters are where it begins."""
    (begin, before, *since), (end, after, *now) = looks[0], looks[-1]
    tokens, waited = (value - first for first, value in zip(since, now, strict=True))
    generated = ((after.generated_tokens or 0.0) - (before.generated_tokens or 0.0)) / (end - begin)
    engines = [look.engine for look in looks[1:]]
    return Point(
        prompt=((after.prompt_tokens or 0.0) - (before.prompt_tokens or 0.0)) / (end - begin),
        generated=generated,
        running=sum(engine.running for engine in engines) / len(engines),
        kv_usage=sum(engine.kv_usage for engine in engines) / len(engines),
        waits=after.waiting > 0,
        decoding=generated * waited / tokens if tokens else 0.0,
    )


def exactly(points: Sequence[Point]) -> list[Point]:
    """Return the points with as many running as the times between tokens add up to."""
    return [replace(point, running=point.decoding) for point in points]


def between_tokens(text: bytes) -> tuple[float, float]:
    """Return how many tokens came after another, and for how long (s) they were waited for, of an engine's metrics."""
    found = {b"count": 0.0, b"sum": 0.0}
    for line in text.splitlines():
        name = line[len(_BETWEEN) :].partition(b"{")[0]
        if line.startswith(_BETWEEN) and name in found:
            found[name] += float(line.rpartition(b" ")[2])
    return found[b"count"], found[b"sum"]


def fitted(points: Sequence[Point], estimate: Estimate) -> Fit:
    """Return the line through the points that count; nothing but zeros where there is none."""
    kept = [point for point in points if point.counts(estimate)]
    if len(kept) < _LEAST_POINTS:
        return Fit(number=len(kept))
    works, rates = [point.work(estimate) for point in kept], [point.rate for point in kept]
    if not statistics.pvariance(works) or not statistics.pvariance(rates):
        return Fit(number=len(kept))
    rise, alone = statistics.linear_regression(works, rates)
    slope, share = -rise, statistics.correlation(works, rates) ** 2
    limit, sure, _ = believed(sums(kept, estimate), estimate.sequences)
    return Fit(alone, slope, share, alone / slope if slope > 0 else 0.0, limit, sure, len(kept))


def sums(points: Sequence[Point], estimate: Estimate) -> Sums:
    """Return the points as slowdown.py adds them up."""
    rows = [
        (1.0, w, v, w * w, w * v, v * v, point.generated, point.running, point.kv_usage)
        for point in points
        for w, v in [(point.work(estimate), point.rate)]
    ]
    return Sums(*(sum(column) for column in zip(*rows, strict=True)))


def believed(found: Sums, sequences: int | None) -> Shown:
    """Return what slowdown.py would say had it seen these windows over and over, and how sure it would be."""
    if not found.number:
        return Shown()
    return capacity(Line(Sums(*(each * _MANY / found.number for each in found))), sequences, 0.0)
