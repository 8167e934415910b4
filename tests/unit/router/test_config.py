"""router.yaml: what is accepted, and what the message says when it is not."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from manta_runtime.router.config import ConfigError, load, parse

GOOD = "{deployment: tiny, namespace: default, servedNames: [tiny, small], selector: a=b, drainSeconds: 30}"


def test_fields_and_defaults():
    config = parse(GOOD)
    assert config.served_names == ("tiny", "small")
    assert (config.drain_seconds, config.listen_port, config.picker_port, config.health_port) == (30, 8000, 9002, 9901)


def test_what_step_3_adds_is_off_or_mild_by_default():
    config = parse(GOOD)
    assert (config.mode, config.policy, config.retries, config.auth) == ("envoy", "prefix", 2, False)
    assert (config.cache, config.tracing, config.max_num_seqs, config.router_selector) == (None, None, None, None)
    assert (config.hold.seconds, config.hold.queue_size) == (60, 1000)
    assert (config.timeouts.request_seconds, config.timeouts.first_byte_seconds) == (3600, 600)
    assert (str(config.keys_dir), str(config.tenants_file)) == ("/etc/manta/keys", "/etc/manta/router/tenants.yaml")


def test_nested_fields_are_read_and_frozen():
    text = "cache: {maxBytes: 1000000}, tracing: {endpoint: 'http://otel.obs:4318', samplingPercent: 10}, keysDir: /k"
    config = parse(GOOD[:-1] + ", " + text + "}")
    assert config.cache is not None
    assert (config.cache.max_bytes, config.cache.ttl_seconds) == (1000000, 3600)
    assert config.tracing is not None
    assert (config.tracing.endpoint, config.tracing.sampling_percent) == ("http://otel.obs:4318", 10)
    assert config.keys_dir == Path("/k")
    with pytest.raises(ValidationError, match="frozen"):
        config.hold.seconds = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("listenPort: 70000", "listenPort: Input should be less than or equal to 65535"),
        ("listenPort: '80'", "listenPort: Input should be a valid integer"),
        ("servedNames: []", "servedNames"),
        ("policy: best", "policy: Input should be 'prefix', 'least-load', 'round-robin' or 'session'"),
        ("mode: istio", "mode: Input should be 'envoy' or 'inference-pool'"),
        ("hold: {seconds: -1}", "hold.seconds: Input should be greater than or equal to 0"),
        ("hold: {queue_size: 1}", "hold.queue_size: Extra inputs are not permitted"),
        ("retries: 6", "retries: Input should be less than or equal to 5"),
        ("timeouts: {firstByteSeconds: 0}", "timeouts.firstByteSeconds"),
        ("cache: {ttlSeconds: 5}", "cache.maxBytes: Field required"),
        ("tracing: {endpoint: 'host:4318'}", "tracing.endpoint: String should match"),
        ("tracing: {endpoint: 'http://h:4318', samplingPercent: 101}", "tracing.samplingPercent"),
        ("sessionHeader: X-Session", "sessionHeader: String should match"),
        ("auth: 'yes'", "auth: Input should be a valid boolean"),
        ("color: red", "color: Extra inputs are not permitted"),
        ("accessLogPort: 9003", "accessLogPort: Extra inputs are not permitted"),
        ("cachePort: 9004", "cachePort: Extra inputs are not permitted"),
        ("listen_port: 80", "listen_port: Extra inputs are not permitted"),
        ("selector: ''", "selector"),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(ConfigError) as caught:
        parse(GOOD[:-1] + ", " + change + "}", "/etc/x.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("/etc/x.yaml ")


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("- a", "must be a mapping"), ("", "must be")])
def test_not_a_mapping(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="Mount the ConfigMap there or pass --config"):
        load(tmp_path / "router.yaml")
