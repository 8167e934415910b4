"""OpenTelemetry spans of each request and each try, sent by Envoy (OTLP over HTTP). Off by default. Pure.

A traceparent of the client's is continued, sampled or not as it says; the others are sampled by `samplingPercent`.
"""

from typing import Any
from urllib.parse import urlsplit

from manta_runtime.router import asking
from manta_runtime.router.config import TracingConfig

Json = dict[str, Any]

CLUSTER = "traces"
SERVICE_NAME = "manta-router"
_PATH = "/v1/traces"
_TYPE = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"


def build(config: TracingConfig) -> Json:
    """The tracing part of the HTTP connection manager."""
    url = urlsplit(config.endpoint)
    uri = f"http://{url.netloc}{url.path.rstrip('/') or _PATH}"
    return {
        "random_sampling": {"value": config.sampling_percent},
        "spawn_upstream_span": True,
        "custom_tags": [
            *(_said(tag, header) for tag, header in _SAID.items()),
            *(_counted(tag, count) for tag, count in _COUNTED.items()),
        ],
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": _TYPE,
                "service_name": SERVICE_NAME,
                "http_service": {"http_uri": {"uri": uri, "cluster": CLUSTER, "timeout": "5s"}},
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


def _said(tag: str, header: str) -> Json:
    return _tag(tag, asking.FILTER, header)


def _counted(tag: str, count: str) -> Json:
    return _tag(tag, "manta", "usage", count)


def _tag(tag: str, key: str, *path: str) -> Json:
    return {
        "tag": tag,
        "metadata": {
            "kind": {"request": {}},
            "metadata_key": {"key": key, "path": [{"key": part} for part in path]},
        },
    }
