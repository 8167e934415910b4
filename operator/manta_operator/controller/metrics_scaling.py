"""What the operator counts about the autoscaler, for `/metrics`, in the registry of `metrics.py`. Decides nothing.

The gauges are of the last decision, so they move with every look, while the status holds still. They go when the
LLMDeployment does, or its `spec.autoscaling`.
"""

from prometheus_client import Counter, Gauge, Histogram

from manta_operator.controller.children import Key
from manta_operator.controller.metrics import REGISTRY
from manta_operator.planning.autoscale_status import reason_of
from manta_operator.scaling.decide import Decision

_OF = ["namespace", "name"]
_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_replicas = Gauge("manta_autoscaler_replicas", "Replicas that the autoscaler asks for", _OF, registry=REGISTRY)
_gauges = {
    name: Gauge(f"manta_autoscaler_{metric}", text, _OF, registry=REGISTRY)
    for name, metric, text in (
        ("need", "needed_replicas", "Replicas that the load of now needs"),
        ("load", "load_replicas", "Replicas that the load of now fills entirely"),
        ("speed", "speed_ratio", "What a replica can do as measured, relative to the planner's estimate"),
        ("coldStart", "cold_start_seconds", "How long a replica takes from being asked for to serving"),
        ("waiting", "waiting_requests", "Requests that nobody computes yet: held in routers or waiting in engines"),
    )
}
_missing = Gauge(
    "manta_autoscaler_signals_missing", "Routers that could not be read at the last look", _OF, registry=REGISTRY
)
_decisions = Counter("manta_autoscaler_decisions", "Decisions by reason", [*_OF, "reason"], registry=REGISTRY)
_look_seconds = Histogram(
    "manta_autoscaler_look_seconds", "How long it took to ask the routers of a deployment", buckets=_BUCKETS,
    registry=REGISTRY,
)  # fmt: skip
_reasons: dict[Key, set[str]] = {}


def decided(key: Key, decision: Decision, missing: int) -> None:
    """Take in a decision about the LLMDeployment `key`, at which so many of its routers could not be read."""
    _replicas.labels(*key).set(decision.replicas)
    for name, gauge in _gauges.items():
        if name in decision.numbers:
            gauge.labels(*key).set(decision.numbers[name])
    _missing.labels(*key).set(missing)
    reason = reason_of(decision)
    _decisions.labels(*key, reason).inc()
    _reasons.setdefault(key, set()).add(reason)


def looked(seconds: float) -> None:
    """Count a look at all routers of a deployment, which took `seconds`."""
    _look_seconds.observe(seconds)


def forgotten(key: Key) -> None:
    """Drop an LLMDeployment that is gone, or that the autoscaler has left; it may never have been seen."""
    reasons = _reasons.pop(key, None)
    if reasons is None:
        return
    for gauge in (_replicas, _missing, *_gauges.values()):
        gauge.remove(*key)
    for reason in reasons:
        _decisions.remove(*key, reason)
