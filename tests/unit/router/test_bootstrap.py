"""Envoy's configuration: what must hold of it. That Envoy accepts it is tested with the real one."""

import json
import re
from pathlib import Path

import pytest

from manta_runtime.router import bootstrap, listener
from manta_runtime.router.config import parse
from manta_runtime.router.envoy import command, worker_threads

CONFIG = parse("{deployment: tiny, namespace: default, servedNames: [tiny], selector: a=b, maxBodyBytes: 2048}")


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


def build(pod_ip="127.1.9.9"):
    return bootstrap.build(CONFIG, pod_ip, Path("/tmp/e/admin"))


def manager():
    return next(find(build()["static_resources"], "typed_config"))


def test_every_socket_but_admin_is_on_the_pod_ip():
    addresses = list(find(build(), "socket_address"))
    assert {address["address"] for address in addresses} == {"127.1.9.9"}
    assert sorted(address["port_value"] for address in addresses) == [8000, 9002, 9003]


def test_nobody_but_the_launcher_reaches_the_admin_interface():
    pipe = {"path": "/tmp/e/admin", "mode": 0o600}
    assert build()["admin"] == {"address": {"pipe": pipe}}


def test_the_same_values_give_the_same_bytes():
    first, second = (json.dumps(build("10.0.0.1")) for _ in range(2))
    assert first == second


def test_fails_closed_and_asks_with_the_whole_body():
    picker = next(f for f in manager()["http_filters"] if f["name"].endswith("ext_authz"))["typed_config"]
    assert picker["failure_mode_allow"] is False
    assert picker["with_request_body"] == {"max_request_bytes": 2048, "allow_partial_message": False}


def test_the_destination_header_is_stripped_before_any_filter():
    (extension,) = manager()["early_header_mutation_extensions"]
    prefixes = [m["remove_on_match"]["key_matcher"]["prefix"] for m in extension["typed_config"]["mutations"]]
    assert any(listener.DESTINATION_HEADER.startswith(prefix) for prefix in prefixes)
    assert any(listener.REPLICA_HEADER.startswith(prefix) for prefix in prefixes)


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
    assert bool(re.fullmatch(listener.PATHS, path)) is allowed


@pytest.mark.parametrize(("quota", "workers"), [("50000 100000", 1), ("max 100000", None), ("nonsense", None)])
def test_worker_threads_follow_the_cpu_quota(tmp_path, quota, workers):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert worker_threads(file) == (workers or worker_threads(tmp_path / "absent"))
    assert 1 <= worker_threads(file) <= 2


def test_envoys_share_no_memory(tmp_path):
    assert "--disable-hot-restart" in command("envoy", tmp_path / "b.json")
