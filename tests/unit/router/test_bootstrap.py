"""Envoy's configuration: what must hold of it. That Envoy accepts it is tested with the real one."""

import json
import re
from pathlib import Path

import pytest

from manta_runtime.router import asking, bootstrap, routes
from manta_runtime.router.config import parse
from manta_runtime.router.envoy import command, heap_bytes, worker_threads

BASE = "deployment: tiny, namespace: default, servedNames: [tiny], selector: a=b, maxBodyBytes: 2048"


def find(tree, key):
    """Every value under `key`, at any depth."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from find(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from find(value, key)


def build(extra="auth: false", pod_ip="127.1.9.9"):
    config = parse(f"{{{BASE}, {extra}}}")
    return bootstrap.build(config, pod_ip, Path("/tmp/e/admin"), Path("/tmp/e/run"))


def manager(extra="auth: false"):
    return next(find(build(extra)["static_resources"], "typed_config"))


def filters(extra="auth: false"):
    return {f["name"].rpartition(".")[2]: f["typed_config"] for f in manager(extra)["http_filters"]}


def test_only_what_clients_reach_is_on_the_pod_ip():
    addresses = list(find(build("cache: {maxBytes: 1000000}"), "socket_address"))
    assert addresses == [{"address": "127.1.9.9", "port_value": 8000}]


def test_envoy_talks_to_its_picker_by_unix_sockets():
    clusters = build("cache: {maxBytes: 1000000}")["static_resources"]["clusters"]
    paths = {cluster["name"]: list(find(cluster, "pipe")) for cluster in clusters}
    assert paths == {
        "engines": [],
        "picker": [{"path": "/tmp/e/run/pick.sock"}],
        "picker-log": [{"path": "/tmp/e/run/ends.sock"}],
        "cache": [{"path": "/tmp/e/run/cache.sock"}],
    }


def test_nobody_but_the_launcher_reaches_the_admin_interface():
    pipe = {"path": "/tmp/e/admin", "mode": 0o600}
    assert build()["admin"] == {"address": {"pipe": pipe}}


def test_envoy_counts_what_the_drain_reads_and_little_else():
    patterns = build()["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    exact = [pattern["exact"] for pattern in patterns if "exact" in pattern]
    assert exact == [
        "http.router.downstream_rq_active",
        "cluster.engines.upstream_rq_total",
        "cluster.engines.version_text",
    ]
    assert not any(
        name.startswith(("http", "cluster.engines.upstream")) for p in patterns for name in [p.get("prefix", "")]
    )


def test_the_same_values_give_the_same_bytes():
    first, second = (json.dumps(build(pod_ip="10.0.0.1")) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("auth", "passes"), [("false", True), ("true", False)])
def test_without_its_picker_envoy_lets_nobody_through_whose_key_must_be_checked(auth, passes):
    assert filters(f"auth: {auth}")["ext_authz"]["failure_mode_allow"] is passes


def test_asks_with_the_whole_body_and_waits_longer_than_a_request_is_held():
    asked = filters("hold: {seconds: 700}")["ext_authz"]
    assert asked["with_request_body"] == {"max_request_bytes": 2048, "allow_partial_message": False}
    assert asked["http_service"]["server_uri"]["timeout"] == "710s"
    waking = filters("hold: {seconds: 60, wakeSeconds: 900}")["ext_authz"]["http_service"]
    assert waking["server_uri"]["timeout"] == "970s"
    assert waking["retry_policy"]["retry_back_off"] == {"base_interval": "0.2s", "max_interval": "970s"}, (
        "of a try, too"
    )
    assert manager("hold: {wakeSeconds: 900}, timeouts: {requestSeconds: 50}")["stream_idle_timeout"] == "1080s"
    held = manager("hold: {seconds: 700}, timeouts: {requestSeconds: 50}")
    assert (held["request_timeout"], held["stream_idle_timeout"]) == ("1010s", "900s")
    assert manager("hold: {seconds: 700}, timeouts: {requestSeconds: 500}")["stream_idle_timeout"] == "1270s"


def stripped(name):
    (extension,) = manager()["early_header_mutation_extensions"]
    mutations = extension["typed_config"]["mutations"]
    matchers = [m["remove_on_match"]["key_matcher"] for m in mutations if "remove_on_match" in m]
    removed = {m["remove"] for m in mutations if "remove" in m}
    prefixes = tuple(m["prefix"] for m in matchers if "prefix" in m)
    patterns = [m["safe_regex"]["regex"] for m in matchers if "safe_regex" in m]
    return (
        name.lower() in removed
        or name.lower().startswith(prefixes)
        or any(re.fullmatch(pattern, name) for pattern in patterns)
    )


def test_only_the_router_says_what_the_router_says():
    said = (asking.DESTINATION_HEADER, asking.REPLICA_HEADER, asking.TENANT_HEADER, asking.WAY_HEADER)
    others = (
        "x-envoy-max-retries",
        "X-Manta-Usage",
        "x-manta-explained",
        "x-manta-exp",
        "x-manta-",
        "x-manta-Explain-",
        "X-Request-Id",
    )
    assert all(stripped(name) for name in said + others)
    assert not any(stripped(name) for name in ("x-manta-explain", "X-Manta-Explain", "x-mantaray"))


def test_what_is_off_is_absent():
    names = [cluster["name"] for cluster in build()["static_resources"]["clusters"]]
    assert names == ["engines", "picker", "picker-log"]
    assert "tracing" not in manager()
    on = "cache: {maxBytes: 100000}, tracing: {endpoint: 'http://otel.obs:4318', samplingPercent: 5}"
    names = [cluster["name"] for cluster in build(on)["static_resources"]["clusters"]]
    assert names == ["engines", "picker", "picker-log", "cache", "traces"]
    (uri,) = find(manager(on)["tracing"], "http_uri")
    assert uri["uri"] == "http://otel.obs:4318/v1/traces"
    assert list(find(manager(on)["tracing"], "sampling_percentage")) == [{"numerator": 5}]


def test_every_local_error_is_an_openai_error():
    bodies = list(find(manager()["local_reply_config"], "json_format"))
    assert len(bodies) >= 8
    assert all(set(body["error"]) == {"message", "type", "param", "code"} for body in bodies)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", True),
        ("/v1/models", True),
        ("/v1/responses/resp_abc-1/cancel", True),
        ("/v1/audio/transcriptions", True),
        ("/v1/load_lora_adapter", False),
        ("/v1/chat/%6Finvocations", False),
        ("/v1/models/", False),
        ("/v1x/models", False),
        ("/inference/v1/generate", False),
    ],
)
def test_allowed_paths(path, allowed):
    assert bool(re.fullmatch(routes.PATHS, path)) is allowed


@pytest.mark.parametrize(
    ("cpus", "quota", "workers"),
    [
        (1, "max 100000", 1),
        (2, "max 100000", 1),
        (3, "nonsense", 2),
        (64, "max 100000", 2),
        (64, "50000 100000", 1),
        (64, "200000 100000", 1),
        (64, "250000 100000", 2),
        (2, "800000 100000", 1),
    ],
)
def test_worker_threads_follow_the_cpus_and_their_quota(tmp_path, monkeypatch, cpus, quota, workers):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cpus)))
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert worker_threads(file) == workers


@pytest.mark.parametrize(("limit", "most"), [("1073741824", 858993459), ("max", 4 << 30), (None, 4 << 30)])
def test_the_heap_ends_before_the_containers_memory_does(tmp_path, limit, most):
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    assert 0 < heap_bytes(file) <= most
    assert limit == "max" or limit is None or heap_bytes(file) == most


def test_envoys_share_no_memory(tmp_path):
    assert "--disable-hot-restart" in command("envoy", tmp_path / "b.json")


def test_a_replica_that_became_ready_is_told_to_the_workers_without_a_wait_for_others():
    (engines,) = [c for c in build()["static_resources"]["clusters"] if c["name"] == "engines"]
    assert engines["common_lb_config"]["update_merge_window"] == "0s"
