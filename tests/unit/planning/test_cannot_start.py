"""What vLLM refuses to start, whatever the memory: kernels, capabilities and cuts that there are not."""

from typing import Any

import pytest
from make import deployment

from manta_operator.facts import catalog
from manta_operator.facts.models import from_config
from manta_operator.planning.search import Choice, decide

GROUPS = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}

MTP = {"method": "mtp", "tokens": 1}


def decided(name: str, kind: str, changed: dict[str, Any] | None = None, **spec: Any) -> str:
    """Return the shape that is chosen, or the path of the first problem and what it says."""
    facts = from_config(dict(catalog.entries()[name].config) | (changed or {}))
    found = decide(deployment(accelerator={"type": kind}, **spec).spec, facts)
    return str(found.shape) if isinstance(found, Choice) else f"{found[0].path}: {found[0].message}"


@pytest.mark.parametrize(
    ("name", "kind", "engine", "path", "words"),
    [
        ("deepseek-ai/DeepSeek-V3.2", "nvidia-a100-80gb", {}, "spec.accelerator.type", "sparse latent attention"),
        ("deepseek-ai/DeepSeek-V3.2", "nvidia-l4", {}, "spec.accelerator.type", "compute capability 8.9"),
        ("openai/gpt-oss-20b", "nvidia-v100-32gb", {}, "spec.accelerator.type", "mxfp4, which needs"),
        ("openai/gpt-oss-20b", "nvidia-t4", {}, "spec.accelerator.type", "capability 8.0, and nvidia-t4 has 7.5"),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", "nvidia-t4", {}, "spec.accelerator.type", "modelopt, which needs"),
        ("Qwen/Qwen3-8B", "nvidia-t4", {"dtype": "bfloat16"}, "spec.engine.dtype", "needs compute capability 8.0"),
        ("google/gemma-3-27b-it", "nvidia-h200", {"dtype": "float16"}, "spec.engine.dtype", "not stable"),
        (
            "Qwen/Qwen3-8B",
            "nvidia-h200",
            {"speculative": MTP},
            "spec.engine.speculative.method",
            "has none: vLLM refuses",
        ),
    ],
)
def test_what_an_accelerator_or_a_model_has_not_is_refused(name, kind, engine, path, words):
    said = decided(name, kind, engine=engine)
    assert said.startswith(f"{path}: ")
    assert words in said


@pytest.mark.parametrize(
    ("name", "kind", "engine"),
    [
        ("deepseek-ai/DeepSeek-V3.2", "nvidia-h200", {}),
        ("deepseek-ai/DeepSeek-V3.2", "nvidia-b200", {}),
        ("deepseek-ai/DeepSeek-V3.2", "nvidia-b200", {"speculative": MTP}),
        ("openai/gpt-oss-20b", "nvidia-l4", {}),
        ("Qwen/Qwen3-32B-FP8", "nvidia-l4", {"maxModelLen": 8192}),
        ("Qwen/Qwen3-8B", "nvidia-v100-32gb", {"dtype": "float16", "maxModelLen": 8192}),
        ("google/gemma-3-27b-it", "nvidia-h200", {"dtype": "bfloat16", "maxModelLen": 8192}),
    ],
)
def test_what_it_has_is_not(name, kind, engine):
    assert decided(name, kind, engine=engine).startswith("tensor ")


def test_where_it_is_close_the_next_shape_that_is_certain_is_told():
    facts = from_config(catalog.entries()["Qwen/Qwen3-Next-80B-A3B-Instruct"].config)
    found = decide(deployment(accelerator={"type": "amd-mi300x"}, engine={"maxModelLen": None}).spec, facts)
    assert isinstance(found, Choice)
    assert "; close: the KV cache is certain to" in found.fit.message
    assert found.advice == "it is close, and tensor 2 x pipeline 1 is certain to fit"


def test_four_bits_are_not_cut_within_a_group():
    """29,568 inputs are 231 groups of 128, which no two ranks share evenly: why Qwen padded its own checkpoints."""
    asked: dict[str, Any] = {"engine": {"maxModelLen": 8192, "maxNumSeqs": 16}}
    groups = {"quantization_config": GROUPS}
    assert decided("Qwen/Qwen2.5-72B", "nvidia-a100-40gb", groups, **asked).startswith("tensor 1 x pipeline 2 ")
    said = decided("Qwen/Qwen2.5-72B", "nvidia-a100-40gb", groups, **asked, parallelism={"tensor": 2})
    assert "parts of 14784 for 2 ranks, which end within a group of 128 (4 bits)" in said
    whole = {"quantization_config": GROUPS | {"group_size": -1}}
    assert decided("Qwen/Qwen2.5-72B", "nvidia-a100-40gb", whole, **asked).startswith("tensor 2 ")


@pytest.mark.parametrize("bits", ["8", None, True])
def test_bits_that_are_no_number_are_not_guessed(bits):
    config = catalog.entries()["Qwen/Qwen3-8B"].config
    facts = from_config(dict(config) | {"quantization_config": GROUPS | {"bits": bits}})
    found = decide(deployment(accelerator={"type": "nvidia-l4"}).spec, facts)
    assert isinstance(found, Choice)
    assert found.fit.fits == "Unknown"
    assert "bits" in found.fit.message
