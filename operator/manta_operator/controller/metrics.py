"""What the operator counts about itself, for `/metrics`: passes, requests to the API server, deployments, leadership.

One registry a process, and functions instead of objects: whoever has something to count calls one of them. Nothing
here decides anything.
"""

from collections import Counter as Tally
from collections.abc import Hashable, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

Judgement = Literal["True", "False", "Unknown"]

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, which nobody reads
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_passes = Counter("manta_passes", "Passes over an LLMDeployment", ["result"], registry=REGISTRY)
_pass_seconds = Histogram("manta_pass_seconds", "How long a pass took", buckets=_SECONDS, registry=REGISTRY)
_requests = Counter(
    "manta_api_requests", "Requests to the API server that were answered or failed", ["verb", "kind", "code"],
    registry=REGISTRY,
)  # fmt: skip
_deployments = Gauge("manta_deployments", "LLMDeployments by their condition Ready", ["ready"], registry=REGISTRY)
_leading = Gauge("manta_leader", "1 in the replica that holds the lease, 0 in a standby", registry=REGISTRY)
_forbidden = Gauge("manta_watches_forbidden", "Watches that the API server does not allow", registry=REGISTRY)
_fitting = Gauge(
    "manta_deployments_fit", "LLMDeployments by whether they are predicted to fit", ["fits"], registry=REGISTRY
)
_fit_errors = Histogram(
    "manta_fit_error_ratio", "What engines measured, relative to what was predicted: 0.1 is 10 % more", ["quantity"],
    buckets=(-0.5, -0.2, -0.1, -0.05, -0.02, -0.005, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5), registry=REGISTRY,
)  # fmt: skip
_catalog = Gauge(
    "manta_catalog_entries", "Entries of the user's catalog that are in force", ["kind"], registry=REGISTRY
)
_wrong = Gauge("manta_catalog_problems", "Entries of the user's catalog that are not in force", registry=REGISTRY)
_hub_reads = Counter("manta_hub_reads", "Reads of a model's facts from a hub", ["result"], registry=REGISTRY)
_reviews = Counter(
    "manta_webhook_reviews", "Writes that the admission webhook was asked about", ["result"], registry=REGISTRY
)
_review_seconds = Histogram(
    "manta_webhook_review_seconds", "How long an answer of the webhook took", buckets=_SECONDS, registry=REGISTRY
)
_trusted = Gauge(
    "manta_webhook_trusted", "1 while API servers are told to trust the webhook's certificate", registry=REGISTRY
)
_judged: dict[Hashable, Judgement] = {}
_fits: dict[Hashable, str] = {}


def passed(seconds: float, failure: str | None = None) -> None:
    """Count a pass that took `seconds` and ended well, or with `failure`: a reason such as `Forbidden` or `Bug`."""
    _passes.labels(result=failure or "Succeeded").inc()
    _pass_seconds.observe(seconds)


def requested(verb: str, kind: str, code: int | None) -> None:
    """Count a request.

    Args:
        verb: What RBAC calls it: get, list, patch (an apply too), create, update, delete.
        kind: Kind of the object, for example `StatefulSet`; of the parent for a subresource.
        code: HTTP status; None if nobody answered.
    """
    _requests.labels(verb=verb, kind=kind, code=str(code or "none")).inc()


def judged(key: Hashable, ready: Judgement) -> None:
    """Remember the condition Ready of the LLMDeployment `key`, as its status says it now."""
    _judged[key] = ready
    _tally()


def predicted(key: Hashable, fits: str) -> None:
    """Remember whether the LLMDeployment `key` is predicted to fit, as its status says it now."""
    _fits[key] = fits
    _tally()


def measured(errors: Mapping[str, float]) -> None:
    """Count how far off a prediction was, by quantity (weights, kv_cache, tokens), when an engine has reported."""
    for quantity, error in errors.items():
        _fit_errors.labels(quantity=quantity).observe(error)


def reviewed(result: Literal["allowed", "refused", "warned"], seconds: float) -> None:
    """Count an answer of the admission webhook, which took `seconds`."""
    _reviews.labels(result=result).inc()
    _review_seconds.observe(seconds)


def webhook_trusted(trusted: bool) -> None:
    """Say whether the webhook's certificate is published."""
    _trusted.set(int(trusted))


def forgotten(key: Hashable) -> None:
    """Drop an LLMDeployment that is gone."""
    _judged.pop(key, None)
    _fits.pop(key, None)
    _tally()


def leads(holds: bool) -> None:
    """Say whether this replica holds the lease."""
    _leading.set(int(holds))


def watches_forbidden(count: int) -> None:
    """Say how many watches the API server refuses."""
    _forbidden.set(count)


def catalog(models: int, accelerators: int, problems: int) -> None:
    """Say how many entries of the user's catalog are in force, and how many cannot be."""
    _catalog.labels(kind="model").set(models)
    _catalog.labels(kind="accelerator").set(accelerators)
    _wrong.set(problems)


def hub_read(result: Literal["read", "refused", "away"]) -> None:
    """Count a read of a model's facts from a hub."""
    _hub_reads.labels(result=result).inc()


def exposition() -> bytes:
    """Return all of it in Prometheus' text format."""
    return generate_latest(REGISTRY)


def _tally() -> None:
    counts, verdicts = Tally(_judged.values()), Tally(_fits.values())
    for state in ("True", "False", "Unknown"):
        _deployments.labels(ready=state).set(counts[state])
        _fitting.labels(fits=state).set(verdicts[state])
