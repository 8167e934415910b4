"""The picker's own Prometheus metrics, in a registry of their own."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Gauges = Callable[[], Iterable[tuple[str, str, dict[str, int]]]]


class Metrics:
    """`gauges` yields (name, help, value by replica) when metrics are read; one without replicas has the key ""."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._picks = Counter("manta_router_picks", "Requests sent to a replica.", ["replica"], registry=self._registry)
        self._refusals = Counter(
            "manta_router_refusals",
            "Requests the picker refused (no_replica, unknown_model, bad_request).",
            ["reason"],
            registry=self._registry,
        )
        for reason in ("no_replica", "unknown_model", "bad_request"):
            self._refusals.labels(reason)
        self._registry.register(_Live(gauges))

    def picked(self, replica: str) -> None:
        """One more pick of `replica`."""
        self._picks.labels(replica).inc()

    def refused(self, reason: str) -> None:
        """One more request refused."""
        self._refusals.labels(reason).inc()

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)


class _Live(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, text, values in self._gauges():
            labels = [] if "" in values else ["replica"]
            family = GaugeMetricFamily(name, text, labels=labels)
            for replica, value in values.items():
                family.add_metric([replica] if labels else [], value)
            yield family
