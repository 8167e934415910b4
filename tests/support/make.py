"""Short ways to the values that tests of the pure core start from: a test names only what it is about."""

from typing import Any

from manta_operator.api.models import LLMDeployment, parse
from manta_operator.facts.models import ModelFacts

LLAMA_8B = ModelFacts(
    architecture="LlamaForCausalLM",
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_dim=128,
    max_positions=131072,
    dtype_bytes=2.0,
    quantization=None,
    weights_bytes=16_060_522_496,
)
TINY = ModelFacts(
    architecture="LlamaForCausalLM",
    layers=4,
    hidden_size=256,
    attention_heads=8,
    kv_heads=2,
    head_dim=32,
    max_positions=1024,
    dtype_bytes=2.0,
    quantization=None,
    weights_bytes=8_000_000,
)


def deployment(name: str = "demo", uid: str = "uid-1", generation: int = 1, **spec: Any) -> LLMDeployment:
    """An LLMDeployment; keywords are fields of the spec, merged over a model on one H100."""
    base: dict[str, Any] = {"model": {"uri": "hf://org/model"}, "accelerator": {"type": "nvidia-h100-80gb"}}
    for key, value in spec.items():
        base[key] = base.get(key, {}) | value if isinstance(value, dict) else value
    metadata = {"name": name, "namespace": "default", "uid": uid, "generation": generation}
    return parse({"metadata": metadata, "spec": base})


def statefulset(name: str, revision: str, index: int, *, pods: int = 1, ready: int = 0) -> dict[str, Any]:
    """A replica group as the API server returns it."""
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "generation": 1,
            "labels": {"manta.dev/revision": revision, "manta.dev/replica": str(index)},
        },
        "spec": {"replicas": pods},
        "status": {"readyReplicas": ready, "observedGeneration": 1},
    }
