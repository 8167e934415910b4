"""What Envoy writes about each request that ended: a JSON line on stdout, and a record to the picker. Pure.

In the JSON numbers are numbers, and what is unknown is null; in the record that is a dash.
"""

from typing import Any

from manta_runtime.router import asking, usage

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy.extensions.access_loggers."
_FLUSH = "0.02s"  # how stale the picker's in-flight counts may be

END = {
    "flags": "%RESPONSE_FLAGS%",
    "status": "%RESPONSE_CODE%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "first_data_ms": usage.metadata("first_data_ms"),
    "duration_ms": "%DURATION%",
    "prompt_tokens": usage.metadata("prompt_tokens"),
    "completion_tokens": usage.metadata("completion_tokens"),
    "cached_tokens": usage.metadata("cached_tokens"),
    "bytes": "%BYTES_SENT%",
    "events": usage.metadata("events"),
}
"""What both loggers tell; the picker gets the values alone, in this order."""


def build() -> list[Json]:
    """Both loggers; probes are not logged."""
    return [_stdout(), _picker()]


def _stdout() -> Json:
    fields = {
        "time": "%START_TIME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "tenant": asking.metadata(asking.TENANT_HEADER),
        "replica": asking.metadata(asking.REPLICA_HEADER),
        "reason": asking.metadata(asking.REASON_HEADER),
        "details": "%RESPONSE_CODE_DETAILS%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": END["bytes"],
        **{name: value for name, value in END.items() if name != "bytes"},
    }
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {"not_health_check_filter": {}},
        "typed_config": {
            "@type": _TYPE + "stream.v3.StdoutAccessLog",
            "log_format": {"json_format": fields},
        },
    }


def _picker() -> Json:
    """Tell the picker of every request that ended: fluentd's forward protocol, in small batches."""
    return {
        "name": "envoy.access_loggers.fluentd",
        "filter": {"not_health_check_filter": {}},
        "typed_config": {
            "@type": _TYPE + "fluentd.v3.FluentdAccessLogConfig",
            "cluster": "picker-log",
            "tag": "done",
            "stat_prefix": "picker",
            "buffer_flush_interval": _FLUSH,
            "buffer_size_bytes": 16384,
            "retry_options": {
                "max_connect_attempts": 1_000_000_000,
                "backoff_options": {"base_interval": "0.1s", "max_interval": "1s"},
            },
            # One string: a field of its own for each number costs Envoy 10 µs more.
            "record": {"id": "%REQ(X-REQUEST-ID)%", "end": " ".join(END.values())},
        },
    }
