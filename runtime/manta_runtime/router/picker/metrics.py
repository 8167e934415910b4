"""The picker's own Prometheus metrics: counted in plain numbers, put into Prometheus' form when they are read."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from manta_runtime.router.picker.demand import Demand
from manta_runtime.router.picker.prompts import CHARS_BEFORE, CHARS_PER_TOKEN

Gauge = tuple[str, str, str, Mapping[str, float]]
"""(name, help, label, value by label); with label "" there is one value, of key ""."""
_DECIDED = (25e-6, 50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.6e-3, 3.2e-3, 12.8e-3, 0.1)
_HELD = (0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600)
_DEEPEST = len(CHARS_BEFORE) - 1
_KINDS = ("prompt", "completion", "cached")


class Histogram:
    """Counts by upper bounds in seconds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """In Prometheus' form."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class Metrics:
    """What is counted on the way. `gauges` yields what is true when metrics are read, `cache` what it has counted."""

    def __init__(
        self, gauges: Callable[[], Iterable[Gauge]], demand: Demand, cache: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        self._demand = demand
        self._cache = cache
        self.refusals: dict[str, int] = defaultdict(int)
        self.ejections: dict[str, int] = defaultdict(int)
        self.retries = 0
        self.left = 0
        self.decided = Histogram(_DECIDED)
        self.held = Histogram(_HELD)
        self._picks: dict[str, int] = defaultdict(int)
        self._reasons: dict[str, int] = defaultdict(int)
        self._tokens: dict[str, list[int]] = {}
        self._prompt_tokens = 0
        self._hit_tokens = 0
        for code in ("no_ready_replica", "model_not_found"):
            self.refusals[code] = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Live(self, gauges))

    def picked(self, replica: str, reason: str, prompt_tokens: int, matched: int) -> None:
        """A request went to `replica`; `reason` as in a Choice; `matched` blocks should be in its cache."""
        self._picks[replica] += 1
        if matched:
            self._hit_tokens += min(prompt_tokens, CHARS_BEFORE[min(matched, _DEEPEST)] // CHARS_PER_TOKEN)
            reason = reason.partition(" ")[0]
        self._reasons[reason] += 1
        self._prompt_tokens += prompt_tokens

    def used(self, tenant: str, prompt: int, completion: int, cached: int) -> None:
        """The engine counted these tokens."""
        tokens = self._tokens.get(tenant)
        if tokens is None:
            tokens = self._tokens[tenant] = [0] * len(_KINDS)
        tokens[0] += prompt
        tokens[1] += completion
        tokens[2] += cached

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Forget replicas that no longer exist, or their names would pile up."""
        keep = set(replicas)
        for counts in (self._picks, self.ejections):
            for name in [name for name in counts if name not in keep]:
                del counts[name]

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)

    def families(self) -> Iterable[Metric]:
        """Everything counted."""
        yield _counter("manta_router_picks", "Requests sent to a replica.", "replica", self._picks)
        yield _counter("manta_router_decisions", "Requests sent to a replica, by why there.", "reason", self._reasons)
        yield _counter("manta_router_refusals", "Requests refused, by the code clients see.", "code", self.refusals)
        yield _counter("manta_router_ejections", "Replicas left out after a failure.", "replica", self.ejections)
        for name, text, value in (
            ("requests", "Requests let in, those refused for want of a place included.", self._demand.requests),
            ("prompt_tokens", "Tokens of their prompts, presumably.", self._demand.tokens_in),
            ("prompt_tokens_estimated", "Tokens of all prompts, estimated.", self._prompt_tokens),
            ("prefix_hit_tokens_estimated", "Of them, tokens expected in the replica's KV cache.", self._hit_tokens),
            ("retries", "Times that a request was tried on another replica.", self.retries),
            ("held_left", "Requests whose client left while they were held.", self.left),
        ):
            yield _counter(f"manta_router_{name}", text, "", {"": value})
        tokens = CounterMetricFamily("manta_router_tokens", "Tokens that engines counted.", labels=["tenant", "kind"])
        for tenant, counts in self._tokens.items():
            for kind, count in zip(_KINDS, counts, strict=True):
                tokens.add_metric((tenant, kind), count)
        yield tokens
        if cached := self._cache():
            yield _counter("manta_router_cache_results", "What came of cacheable requests.", "result", cached)
        yield self.held.family("manta_router_held_seconds", "How long requests were held.")
        yield self.decided.family("manta_router_decision_seconds", "The picker's own time per request.")


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label] if label else [])
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family


class _Live(Collector):
    def __init__(self, metrics: Metrics, gauges: Callable[[], Iterable[Gauge]]) -> None:
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        yield from self._metrics.families()
        for name, text, label, values in self._gauges():
            family = GaugeMetricFamily(name, text, labels=[label] if label else [])
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            yield family
