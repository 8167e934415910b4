"""Finds every constraint of the CRD, and makes bodies that differ from a valid one in one place."""

import copy
import re
from typing import Any

import real_server

from manta_operator.api.crd import llmdeployment_schema, open_api_schema
from manta_operator.api.engine_words import NEEDS_MODEL

MINIMAL: dict[str, Any] = {
    "apiVersion": "manta.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "tiny", "namespace": "default"},
    "spec": {"model": {"uri": "hf://a/b"}, "accelerator": {"type": "cpu"}},
}

ITEMS: dict[str, Any] = {
    "spec.autoscaling": {"maxReplicas": 1000},
    "spec.engine.env": {"name": "A"},
    "spec.engine.lora": {},
    "spec.engine.ropeScaling": {"type": "yarn", "factor": 2},
    "spec.engine.speculative": {"method": "mtp", "tokens": 3},
    "spec.engine.speculative.model": {"uri": "hf://a/b"},
    "spec.gateway.parentRefs": {"name": "g"},
    "spec.model.adapters": {"name": "a", "uri": "hf://a/b"},
    "spec.router.auth": {"secret": "s"},
    "spec.router.cache": {"size": "64Mi"},
    "spec.router.scheduling.tolerations": {"key": "k", "effect": "NoExecute"},
    "spec.router.tenants": {"name": "anonymous"},
    "spec.router.tracing": {"endpoint": "http://collector:4318"},
    "spec.scheduling.tolerations": {"key": "k", "effect": "NoExecute"},
    "status.adapters": {"name": "a", "loaded": 1},
    "status.autoscaling": {"replicas": 1, "reason": "A"},
    "status.autoscaling.changes": {
        "time": "2026-01-01T00:00:00Z",
        "fromReplicas": 1,
        "toReplicas": 2,
        "reason": "A",
    },
    "status.engineEnds": {"replica": "a-0", "pod": "a-0-0", "exitCode": 10, "time": "2026-01-01T00:00:00Z"},
    "status.adapters[*].replicas": {"replica": 0, "pod": "a-0", "state": "Loaded"},
    "status.conditions": {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "A",
    },
    "status.decisions": {"reason": "A", "message": "b"},
    "status.fit": {"fits": "True"},
    "status.shape": {"tensor": 1, "pipeline": 1, "perPod": 1, "executor": "uni", "specHash": "a"},
}
"""Valid parents of fields that need one."""

BESIDE: dict[str, tuple[str, Any]] = {
    "spec.autoscaling.target.betweenTokensMilliseconds": ("spec.autoscaling.signal", "latency"),
    "spec.accelerator.memory": ("spec.accelerator", {"type": "other", "resource": "amd.com/gpu"}),
    "spec.accelerator.resource": ("spec.accelerator.type", "other"),
    "spec.engine.maxNumBatchedTokens": ("spec.engine.maxNumSeqs", 1),
    "spec.engine.speculative.model.region": ("spec.engine.speculative.model.uri", "s3://bucket/prefix"),
    "spec.engine.speculative.promptLookup": ("spec.engine.speculative.method", "ngram"),
    "spec.gateway.hostnames": ("spec.gateway.parentRefs", [{"name": "g"}]),
    "spec.model.adapters[*].region": ("spec.model.adapters[*].uri", "s3://bucket/prefix"),
    "spec.model.region": ("spec.model.uri", "s3://bucket/prefix"),
    "spec.router.tenants": ("spec.router.auth", {"secret": "s"}),
    "spec.rollout.progressDeadlineSeconds": ("spec.engine.startupSeconds", 30),
}
"""What else has to be there for a rule to accept a field: its path and its value."""

BESIDE_VALUE: dict[tuple[str, str], tuple[str, Any]] = {
    ("spec.engine.speculative.method", method): ("spec.engine.speculative.model", {"uri": "hf://a/b"})
    for method in NEEDS_MODEL
}
"""The same for one value of a field."""


def walk(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every node of a schema with its path; `[*]` stands for the items of a list and the values of a map."""
    found = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        found += walk(child, f"{path}.{name}".lstrip("."))
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            found += walk(schema[word], f"{path}[*]")
    return found


NODES = dict(walk(open_api_schema()))
"""Every node of the CRD's schema by its path."""


def body_with(path: str, value: Any) -> dict[str, Any]:
    """The minimal body with `value` at `path` (`[*]`: in the first item, or under the key `k` of a map)."""
    body = copy.deepcopy(MINIMAL)
    for field, (other, needed) in BESIDE.items():
        if path.startswith(field):
            _put(body, _steps(other), copy.deepcopy(needed), "")
    _put(body, _steps(path), value, "")
    if isinstance(value, str) and (path, value) in BESIDE_VALUE:
        other, needed = BESIDE_VALUE[path, value]
        _put(body, _steps(other), needed, "")
    return body


def body_without(path: str) -> dict[str, Any]:
    """The minimal body, or one with a valid parent, that lacks `path`."""
    parent, _, name = path.rpartition(".")
    holder = parent.removesuffix("[*]")
    body = body_with(holder, []) if holder != parent else copy.deepcopy(MINIMAL)
    if holder in ITEMS:
        item = {key: value for key, value in ITEMS[holder].items() if key != name}
        return body_with(parent, item)
    node: Any = body
    for step in parent.split(".") if parent else ():
        node = node[step]
    del node[name]
    return body


def problems(body: dict[str, Any]) -> list[str]:
    """What the API server would say about a body, one text an error; or says, with MANTA_CONFORMANCE_URL."""
    if real_server.URL:
        return real_server.problems(body, MINIMAL)
    schema = llmdeployment_schema()
    pruned, unknown = schema.prune(body)
    assert unknown == (), f"the case itself is wrong: {unknown}"
    return [str(error) for error in schema.validate(schema.default(pruned))]


def admitted(body: dict[str, Any]) -> dict[str, Any]:
    """The spec that is stored of a body, by the API server's word with MANTA_CONFORMANCE_URL, by ours without."""
    if real_server.URL:
        return real_server.admitted(body, MINIMAL)["spec"]
    schema = llmdeployment_schema()
    return schema.default(schema.prune(body)[0])["spec"]


def at(path: str) -> str:
    """The path as errors write it, for the place where `body_with` puts a value."""
    for a_map in ("nodeSelector", "numbers"):
        path = path.replace(f"{a_map}[*]", f"{a_map}.k")
    return path.replace("[*]", "[0]")


def _steps(path: str) -> list[str]:
    return re.findall(r"[^.\[\]]+|\[\*\]", path)


def _put(node: Any, steps: list[str], value: Any, path: str) -> None:
    step, rest = steps[0], steps[1:]
    if not rest:
        node["k" if step == "[*]" and isinstance(node, dict) else 0 if step == "[*]" else step] = value
        return
    path = f"{path}{step}" if step == "[*]" else f"{path}.{step}".lstrip(".")
    if step == "[*]":
        _put(node[0], rest, value, path)
        return
    if path not in ("metadata", "spec", "spec.model", "spec.accelerator"):
        item = copy.deepcopy(ITEMS.get(path, {}))
        is_map = path.endswith((".nodeSelector", ".numbers"))
        node.setdefault(step, {} if is_map else [item] if rest[0] == "[*]" else item)
        if rest == ["[*]"] and not is_map:
            node[step] = [value]
            return
    _put(node[step], rest, value, path)
