"""What a rank holds beside the model: a draft, wider values, what ranks that talk to each other need."""

from dataclasses import replace
from typing import Any

import pytest
from make import LLAMA_8B, deployment

from manta_operator.facts import catalog
from manta_operator.facts.models import from_config
from manta_operator.planning.engine_checks import decisions
from manta_operator.planning.fit import Fit, accelerator_of, judge
from manta_operator.planning.shape import Shape

GIB = 2**30
ONE = Shape(1, 1, 1, "uni")
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
EXPERTS = "Qwen/Qwen3-30B-A3B"


def fit(name: str, kind: str, shape: Shape = ONE, **engine: Any) -> Fit:
    spec = deployment(accelerator={"type": kind}, engine={"maxModelLen": 8192} | engine).spec
    return judge(spec, shape, accelerator_of(spec), from_config(catalog.entries()[name].config))


def draft(uri: str) -> dict[str, Any]:
    return {"method": "draft_model", "tokens": 3, "model": {"uri": uri}}


def test_a_draft_that_the_catalog_knows_is_counted():
    alone, both = (
        fit(LLAMA, "nvidia-h100-80gb"),
        fit(LLAMA, "nvidia-h100-80gb", speculative=draft(f"hf://{LLAMA}")),
    )
    assert (alone.fits, both.fits) == ("True", "True")
    assert both.weights_per_rank == 2 * (alone.weights_per_rank or 0)
    assert both.kv_bytes_per_token == 2 * (alone.kv_bytes_per_token or 0)
    assert fit(LLAMA, "nvidia-a10", speculative=draft(f"hf://{LLAMA}")).fits == "False"


def test_with_a_draft_that_nobody_knows_nothing_is_certain():
    found = fit(LLAMA, "nvidia-h100-80gb", speculative=draft("hf://org/small"))
    assert (found.fits, found.kv_cache_tokens, found.margin_per_rank) == ("Unknown", None, None)
    assert "not counted: the weights and the KV cache of hf://org/small" in found.message
    assert fit(EXPERTS, "nvidia-l4", speculative=draft("hf://org/small")).fits == "False", "without it already"
    spec = deployment(engine={"speculative": draft("hf://org/small")}).spec
    assert "hf://org/small" in decisions(spec, None, accelerator_of(spec))[-1].message


def test_models_that_may_not_be_float16_are_float32_where_there_is_no_bfloat16():
    old, new = (fit("google/gemma-3-4b-it", kind) for kind in ("nvidia-v100-32gb", "nvidia-a100-40gb"))
    assert (old.weights_per_rank or 0) > 1.98 * (new.weights_per_rank or 0)
    assert old.kv_bytes_per_token == 2 * (new.kv_bytes_per_token or 0)
    plain = [fit("Qwen/Qwen3-8B", kind).weights_per_rank for kind in ("nvidia-v100-32gb", "nvidia-a100-40gb")]
    assert plain[0] == plain[1]


@pytest.mark.parametrize(
    ("case", "name", "shape", "more"),
    [
        ("stages", LLAMA, Shape(1, 8, 8, "mp"), True),
        ("experts over data ranks", EXPERTS, Shape(1, 1, 8, "mp", 8, True), True),
        ("data ranks that share nothing", LLAMA, Shape(1, 1, 8, "mp", 8), False),
    ],
)
def test_ranks_that_talk_to_each_other_need_buffers(case, name, shape, more):
    one, many = (fit(name, "nvidia-l40s", each, enforceEager=True).overhead_per_rank for each in (ONE, shape))
    assert one is not None
    assert many is not None
    assert (many.value - one.value > 0.5 * GIB) == more, case


def test_a_model_without_a_length_gets_the_one_that_vllm_takes():
    spec = deployment().spec
    found = judge(spec, ONE, accelerator_of(spec), replace(LLAMA_8B, max_positions=None, default_positions=None))
    assert found.max_model_len == 2048
    assert found.concurrency == pytest.approx((found.kv_cache_tokens or 0) / 2048, abs=0.01)
    assert "requests of 2048 tokens" in found.message


def test_what_is_short_adds_up():
    spec = deployment(engine={"maxModelLen": 8192, "kvCacheMemory": "70Gi"}).spec
    found = judge(spec, ONE, accelerator_of(spec), from_config(catalog.entries()[LLAMA].config))
    assert found.fits == "False"
    assert "of activations, CUDA graphs and buffers of" in found.message
    assert "leave no room for a KV cache of 70.0 GiB (kvCacheMemory)" in found.message
    narrow = fit("Qwen/Qwen3-14B", "nvidia-a10")
    assert "of 90 % of 22.1 GiB on nvidia-a10 leave no room for a KV cache" in narrow.message
