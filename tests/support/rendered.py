"""What the builders render for a table of specs and for every example: the rows of the contract tests."""

import functools
from pathlib import Path
from typing import Any

from make import TINY

from manta_operator.api.load import load
from manta_operator.api.models import LLMDeployment, parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.observe import Observed

Object = dict[str, Any]
H100 = {"type": "nvidia-h100-80gb"}
CPU = {"type": "cpu"}
TEMPLATE = "{% for m in messages %}$(POD_IP) {{ m['content'] }}\n{% endfor %}"

SPECS: dict[str, Object] = {
    "hub": {"model": {"uri": "hf://org/model", "revision": "v1"}, "accelerator": H100},
    "claim": {"model": {"uri": "pvc://models/llama/8b"}, "accelerator": H100},
    "whole claim": {"model": {"uri": "pvc://models"}, "accelerator": H100},
    "folder": {"model": {"uri": "file:///srv/tiny", "servedNames": ["a", "b"]}, "accelerator": CPU},
    "tensor": {"model": {"uri": "hf://o/m"}, "accelerator": H100 | {"perPod": 4}, "parallelism": {"tensor": 4}},
    "tensor over pods": {
        "model": {"uri": "file:///srv/tiny"},
        "accelerator": CPU | {"perPod": 1},
        "parallelism": {"tensor": 2},
        "rollout": {"drainSeconds": 0},
    },
    "pipeline": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100 | {"perPod": 2},
        "parallelism": {"tensor": 2, "pipeline": 2},
    },
    "mp": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "parallelism": {"tensor": 2},
        "engine": {"executor": "mp"},
    },
    "ray in a pod": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100 | {"perPod": 2},
        "parallelism": {"tensor": 2},
        "engine": {"executor": "ray"},
    },
    "data ranks in a pod": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "parallelism": {"tensor": 2, "data": 4, "expert": True},
    },
    "data ranks over pods": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "parallelism": {"tensor": 1, "data": 16, "expert": True},
    },
    "data ranks of several pods": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "parallelism": {"tensor": 8, "pipeline": 2, "data": 2},
    },
    "data ranks on cpu": {
        "model": {"uri": "file:///srv/tiny"},
        "accelerator": CPU | {"perPod": 1},
        "parallelism": {"data": 2},
    },
    "another accelerator": {
        "model": {"uri": "hf://o/m"},
        "accelerator": {"type": "other", "resource": "habana.ai/gaudi", "memory": "120Gi", "perPod": 2},
        "parallelism": {"tensor": 2},
    },
    "every engine field": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "engine": {
            "dtype": "float16",
            "quantization": "fp8",
            "kvCacheDtype": "fp8_e5m2",
            "attentionBackend": "FLASHINFER",
            "maxModelLen": 4096,
            "maxNumSeqs": 32,
            "gpuMemoryUtilization": 85,
            "prefixCaching": False,
            "enforceEager": True,
            "maxNumBatchedTokens": 2048,
            "chunkedPrefill": True,
            "ropeScaling": {"type": "yarn", "factor": 2, "originalMaxPositionEmbeddings": 32768},
            "speculative": {
                "method": "draft_model",
                "tokens": 3,
                "model": {"uri": "hf://o/small", "revision": "v2"},
            },
            "toolCallParser": "hermes",
            "reasoningParser": "qwen3",
            "structuredOutputs": {"backend": "guidance", "disableAdditionalProperties": True},
            "args": ["--seed=7"],
            "resources": {"cpu": "1500m", "memory": "8Gi"},
            "startupSeconds": 60,
            "hangSeconds": 900,
        },
    },
    "ngram": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "engine": {
            "speculative": {"method": "ngram", "tokens": 4, "promptLookupMax": 5, "promptLookupMin": 2},
            "chunkedPrefill": False,
        },
    },
    "every router field": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "engine": {"maxNumSeqs": 32},
        "rollout": {"drainSeconds": 90},
        "router": {
            "replicas": 3,
            "port": 80,
            "policy": "session",
            "session": {"header": "x-conversation"},
            "auth": {"secret": "keys"},
            "tenants": [
                {
                    "name": "free",
                    "models": ["demo"],
                    "requestsPerMinute": 60,
                    "tokensPerMinute": 9000,
                    "concurrency": 2,
                },
                {"name": "paid", "priority": 10, "weight": 5},
            ],
            "hold": {"seconds": 120, "queueSize": 50},
            "cache": {"size": "256Mi", "ttlSeconds": 60},
            "timeouts": {"requestSeconds": 600, "firstByteSeconds": 30},
            "retries": 1,
            "tracing": {"endpoint": "http://collector:4318", "samplingPercent": 10},
        },
    },
    "to zero and back": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "autoscaling": {"minReplicas": 0, "maxReplicas": 4, "scaleToZero": {"holdSeconds": 300}},
        "router": {"hold": {"seconds": 40}},
    },
    "never to zero": {
        "model": {"uri": "hf://o/m"},
        "accelerator": H100,
        "autoscaling": {"minReplicas": 1, "maxReplicas": 4, "scaleToZero": {"holdSeconds": 300}},
    },
    "adapters": {
        "model": {
            "uri": "hf://o/m",
            "credentialsSecret": "hugging-face",
            "adapters": [
                {"name": "sql", "uri": "hf://org/sql", "revision": "v1"},
                {"name": "chat", "uri": "s3://bucket/chat", "region": "eu-1", "endpoint": "http://minio:9000"},
                {"name": "org/claim", "uri": "pvc://training/support/latest"},
                {"name": "folder", "uri": "file:///srv/adapters/x"},
            ],
        },
        "accelerator": H100,
    },
    "room for adapters": {
        "model": {"uri": "file:///srv/tiny"},
        "accelerator": CPU,
        "engine": {"lora": {"maxRank": 8, "maxLoaded": 1}},
    },
    "no quantization": {"model": {"uri": "hf://o/m"}, "accelerator": H100, "engine": {"quantization": "none"}},
    "fixed cache": {"model": {"uri": "hf://o/m"}, "accelerator": H100, "engine": {"kvCacheMemory": "1Gi"}},
    "chat template": {"model": {"uri": "hf://o/m", "chatTemplate": TEMPLATE}, "accelerator": H100},
}


@functools.cache
def every_deployment() -> dict[str, LLMDeployment]:
    """The table above and every example, by name; for reading."""
    found = {
        name: parse({"metadata": {"name": "demo", "namespace": "prod", "uid": "u", "generation": 1}, "spec": spec})
        for name, spec in SPECS.items()
    }
    for path in sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")):
        for body in load(path.read_text(), str(path)):
            found[path.stem] = parse(body)
    return found


def render(deployment: LLMDeployment) -> tuple[Desired, list[Object]]:
    """The plan and the objects, as where the tiny model is seen and no other."""
    facts = TINY if deployment.spec.accelerator.type == "cpu" else None
    desired = desire(deployment, facts, Observed())
    assert isinstance(desired, Desired), desired
    return desired, list(desired.objects)


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [obj for obj in objects if obj["kind"] == kind]


def containers(obj: Object) -> dict[str, Object]:
    """Containers of a workload's pods by name."""
    return {container["name"]: container for container in obj["spec"]["template"]["spec"]["containers"]}
