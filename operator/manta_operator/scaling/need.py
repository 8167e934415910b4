"""How many replicas a rate of work needs, now and in the past. Pure.

    d      = rate / speed                                          replicas that it fills entirely
    need   = margin x (d / utilisation + spread x sqrt(d x min(1, grain / first_token))) + queue
    least  = margin x (d + spread / 4 x sqrt(d x max(0, min(1, grain / first_token) - grain / 15 s)))         of a bin
    window = 15 to 60 s, over which rates are averaged: shorter sees rushes, longer hides chance; hindsight.py chooses
    queue  = requests that wait x work of a mean request / speed / (a cold start, at least 60 s)

Over the time that a first token may take, the work that comes has the variance d x grain / first_token (demand.py), in
replicas: that much is kept free. A request larger than that time occupies a replica of its own, whence the 1
(square-root staffing; Halfin and Whitt, "Heavy-traffic limits for queues with many exponential servers", 1981). What
the last 15 s brought counts at once where it is more than chance explains: 3 standard deviations above the mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from manta_operator.scaling import demand
from manta_operator.scaling.settings import Target
from manta_operator.scaling.state import BIN_SECONDS, Bin

_CHANCE = 3.0
_LEAST_DRAIN = 60.0


@dataclass(frozen=True)
class Scale:
    """What turns work into replicas.

    `speed`, `grain`, `margin`: as learned; `cold_start` and `window` in seconds. `share` of the spread is kept free
    beyond the highest of past rates.
    """

    target: Target
    speed: float
    grain: float
    margin: float
    cold_start: float
    window: float = BIN_SECONDS
    share: float = 1.0

    def load(self, rate: float) -> float:
        """Return the replicas that this much work a second fills entirely."""
        return rate / self.speed

    def need(self, rate: float) -> float:
        """Return the replicas that should be there for it; never less for a higher rate."""
        return self.margin * (self.load(rate) / self.target.utilisation + self.target.spread * self.chance(rate))

    def kept(self, rate: float) -> float:
        """Return the replicas to keep for the highest of many rates: a part of its chance is in it already."""
        spread = self.share * self.target.spread
        return self.margin * (self.load(rate) / self.target.utilisation + spread * self.chance(rate))

    def least(self, rate: float) -> float:
        """Return the replicas without which some requests come late, for the rate of one bin.

        Of its chance a bin shows a part already: the variance of its mean, d x grain / its length.
        """
        hidden = max(0.0, self._share() - self.grain / self.speed / BIN_SECONDS)
        return self.margin * (self.load(rate) + self.target.spread / 4 * math.sqrt(self.load(rate) * hidden))

    def chance(self, rate: float) -> float:
        """Return one standard deviation of what it fills over the time that a first token may take (replicas)."""
        return math.sqrt(self.load(rate) * self._share())

    def _share(self) -> float:
        return min(1.0, self.grain / self.speed / self.target.first_token)

    def rate(self, bins: Sequence[Bin]) -> float:
        """Return the rate of now: of the window, or of the last bins where that is a jump."""
        slow, fast = demand.recent(bins, self.window), demand.recent(bins, BIN_SECONDS)
        chance = _CHANCE * math.sqrt(slow * self.grain / BIN_SECONDS)
        return fast if fast > slow + chance else slow

    def queue(self, waiting: int, work: float) -> float:
        """Return the replicas that finish what waits in the time that one of them takes to start.

        Args:
            waiting: Requests that nobody computes yet.
            work: Of a mean request (s of a replica as estimated).
        """
        return waiting * work / self.speed / max(_LEAST_DRAIN, self.cold_start)


def smoothed(bins: Sequence[Bin], window: float) -> list[float]:
    """Return at each bin the mean rate of the `window` seconds that end with it."""
    length = max(1, round(window / BIN_SECONDS))
    rates = [each.rate for each in bins]
    sums = [0.0]
    for rate in rates:
        sums.append(sums[-1] + rate)
    return [(sums[i + 1] - sums[max(0, i + 1 - length)]) / min(i + 1, length) for i in range(len(rates))]
