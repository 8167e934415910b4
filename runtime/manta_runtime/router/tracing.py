"""OpenTelemetry spans of each request and each try, sent by Envoy (OTLP over HTTP). Off by default. Pure.

A traceparent of the client's is continued, sampled or not as it says; the others are sampled by `samplingPercent`.
"""

from typing import Any
from urllib.parse import urlsplit

from manta_runtime.router import asking, usage
from manta_runtime.router.config import TracingConfig

Json = dict[str, Any]

CLUSTER = "traces"
SERVICE_NAME = "manta-router"
_PATH = "/v1/traces"
_TYPE = "type.googleapis.com/envoy."


def build(config: TracingConfig) -> Json:
    """The tracing part of the HTTP connection manager."""
    url = urlsplit(config.endpoint)
    uri = f"http://{url.netloc}{url.path.rstrip('/') or _PATH}"
    return {
        # Envoy's own dice would be thrown before a client's traceparent is read: the sampler below decides.
        "random_sampling": {"value": 100},
        "spawn_upstream_span": True,
        "custom_tags": [
            *(_said(tag, header) for tag, header in _SAID.items()),
            *(_counted(tag, count) for tag, count in _COUNTED.items()),
        ],
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": _TYPE + "config.trace.v3.OpenTelemetryConfig",
                "service_name": SERVICE_NAME,
                "http_service": {"http_uri": {"uri": uri, "cluster": CLUSTER, "timeout": "5s"}},
                "sampler": _sampler(config.sampling_percent),
            },
        },
    }


_SAID = {
    "manta.replica": asking.REPLICA_HEADER,
    "manta.tenant": asking.TENANT_HEADER,
    "manta.reason": asking.REASON_HEADER,
}
_COUNTED = {
    "gen_ai.usage.input_tokens": "prompt_tokens",
    "gen_ai.usage.output_tokens": "completion_tokens",
}


def _sampler(percent: int) -> Json:
    """As the client's traceparent says; without one, `percent` of all traces."""
    some = _extension("trace_id_ratio_based", "TraceIdRatioBased", sampling_percentage={"numerator": percent})
    return _extension("parent_based", "ParentBased", wrapped_sampler=some)


def _extension(name: str, message: str, **fields: Json) -> Json:
    kind = f"{_TYPE}extensions.tracers.opentelemetry.samplers.v3.{message}SamplerConfig"
    return {"name": f"envoy.tracers.opentelemetry.samplers.{name}", "typed_config": {"@type": kind, **fields}}


def _said(tag: str, header: str) -> Json:
    return _tag(tag, asking.FILTER, header)


def _counted(tag: str, count: str) -> Json:
    return _tag(tag, usage.SPACE, count)


def _tag(tag: str, key: str, *path: str) -> Json:
    return {
        "tag": tag,
        "metadata": {
            "kind": {"request": {}},
            "metadata_key": {"key": key, "path": [{"key": part} for part in path]},
        },
    }
