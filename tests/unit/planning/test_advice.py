"""Ten specs that cannot be served, the advice that is given, and that the advice, applied, fits."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, deployment

from manta_operator.facts.accelerators import catalog
from manta_operator.facts.anatomy.parts import Anatomy, Stored, Weight
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.advice import Advice, advise
from manta_operator.planning.patches import in_words, merged, patched
from manta_operator.planning.search import Choice, decide

GIB = 2**30
TINY_GPU = {"type": "other", "resource": "example.com/gpu", "memory": "8Gi"}
LLAMA_70B = replace(
    LLAMA_8B, layers=80, hidden_size=8192, attention_heads=64, weights_bytes=141_107_412_992, parameters=70_553_706_496
)
R1 = replace(
    LLAMA_8B,
    architecture="DeepseekV3ForCausalLM",
    layers=61,
    attention_heads=128,
    kv_heads=128,
    latent_dim=576,
    max_positions=163_840,
    quantization="fp8",
    weights_bytes=688_586_727_753,
    experts=256,
    experts_per_token=8,
    expert_share=0.97,
)
SMALL = replace(LLAMA_8B, layers=16, hidden_size=2048, weights_bytes=2_471_645_608, parameters=1_235_814_400)

SLICED = Weight("mlp.experts.0.gate_proj", 1536, 7168, 256, "experts", stored=Stored(8, 4, 128, 128))
KINDS = [
    catalog()[f"nvidia-{name}"] for name in ("l4", "a10", "l40s", "a100-40gb", "a100-80gb", "h100-80gb", "h200", "b200")
] + [catalog()[f"amd-{name}"] for name in ("mi300x", "mi325x")]
ONE_L4 = {"accelerator": {"type": "nvidia-l4"}, "parallelism": {"tensor": 1}}
IMPOSSIBLE = [
    pytest.param(
        LLAMA_70B,
        ONE_L4,
        ["spec.parallelism.tensor: 8", "spec.accelerator.type: amd-mi325x"],
        id="70B in 16 bits on one L4",
    ),
    pytest.param(
        R1,
        {"accelerator": {"type": "nvidia-h100-80gb", "perPod": 4}, "parallelism": {"tensor": 4, "pipeline": 1}},
        ["spec.parallelism.pipeline: 3"],
        id="R1 on four H100",
    ),
    pytest.param(
        LLAMA_8B,
        {"engine": {"maxModelLen": 1_000_000}},
        ["spec.engine.maxModelLen: 131072"],
        id="a million tokens of a model made for fewer",
    ),
    pytest.param(
        replace(LLAMA_8B, max_positions=1_048_576),
        {"parallelism": {"tensor": 1}, "engine": {"maxModelLen": 1_048_576}},
        ["spec.parallelism.tensor: 4", "spec.engine.maxModelLen:"],
        id="a million tokens on one H100",
    ),
    pytest.param(
        replace(LLAMA_8B, attention_heads=40, kv_heads=10),
        {"parallelism": {"tensor": 8}},
        ["spec.parallelism.tensor: 1"],
        id="heads that do not divide",
    ),
    pytest.param(
        replace(R1, quantization=None, weights_bytes=2 * 671 * 10**9, parameters=671 * 10**9),
        {"accelerator": {"type": "nvidia-h200"}, "parallelism": {"tensor": 8}},
        ["spec.parallelism.pipeline: 2", "spec.engine.quantization: fp8_per_channel"],
        id="a mixture of experts too large for a node",
    ),
    pytest.param(
        LLAMA_8B,
        {"accelerator": TINY_GPU, "parallelism": {"tensor": 1}},
        ["spec.parallelism.tensor: 8", "spec.accelerator.type: nvidia-"],
        id="a tiny GPU",
    ),
    pytest.param(
        LLAMA_8B,
        ONE_L4 | {"engine": {"maxModelLen": 49152}},
        ["spec.parallelism.tensor: 2", "spec.engine.kvCacheDtype: fp8", "spec.engine.quantization: fp8_per_channel"],
        id="a context that is too long for one L4",
    ),
    pytest.param(
        LLAMA_8B,
        {"parallelism": {"tensor": 1}, "engine": {"maxModelLen": 32768}, "fit": {"concurrency": 200}},
        ["spec.fit.concurrency:", "spec.engine.maxModelLen:"],
        id="too many requests at once",
    ),
    pytest.param(
        replace(R1, anatomy=Anatomy(((SLICED,),) * 61, ())),
        {"accelerator": {"type": "nvidia-h200"}, "parallelism": {"tensor": 8}, "engine": {"maxModelLen": 32768}},
        ["spec.parallelism.expert: true"],
        id="experts whose slices end within a block",
    ),
    pytest.param(
        SMALL,
        {"accelerator": {"type": "nvidia-l4"}, "parallelism": {"tensor": 1}, "engine": {"kvCacheMemory": "20Gi"}},
        ["spec.engine.kvCacheMemory"],
        id="a fixed KV cache that is larger than the GPU",
    ),
]


def advice(facts: ModelFacts, spec, **more) -> tuple[Advice, ...]:
    return advise(deployment(**spec).spec, facts, **({"accelerators": KINDS} | more))


@pytest.mark.parametrize(("facts", "spec", "words"), IMPOSSIBLE)
def test_the_advice_given_and_applied_fits(facts, spec, words):
    asked = deployment(**spec).spec
    assert not isinstance(decide(asked, facts), Choice), "it fits as it is"
    given = advice(facts, spec)
    texts = [each.text for each in given]
    for word in words:
        assert any(word in text for text in texts), (word, texts)
    for each in given:
        decided = decide(patched(asked, each.patch), facts)
        assert isinstance(decided, Choice), (each.text, decided)
        assert decided.fit.fits == "True", each.text
        assert decided.shape == each.choice.shape, each.text


@pytest.mark.parametrize(("facts", "spec", "words"), IMPOSSIBLE)
def test_the_refusal_says_what_would_fit_or_what_to_do(facts, spec, words):
    del words
    (problem,) = decide(deployment(**spec).spec, facts)
    assert problem.remedy
    if problem.reason == "DoesNotFit":
        assert problem.remedy.startswith("set spec."), problem.remedy
        assert "for each replica" in problem.remedy


def test_only_what_the_accelerator_runs_is_advised():
    spec = {"accelerator": {"type": "nvidia-a100-40gb"}, "parallelism": {"tensor": 1}, "engine": {"maxModelLen": 4096}}
    a100 = [each.text for each in advice(replace(LLAMA_8B, weights_bytes=50 * 10**9), spec, most=20)]
    assert not any("kvCacheDtype" in text for text in a100), "no fp8 arithmetic, so no kernel reads such a cache"
    assert any("spec.engine.quantization: fp8_per_channel" in text for text in a100)
    quantized = advice(replace(LLAMA_8B, weights_bytes=50 * 10**9, quantization="awq"), spec, most=20)
    assert not any("spec.engine.quantization" in each.text for each in quantized)


def test_where_one_change_is_not_enough_two_are_advised():
    cramped = {"accelerator": {"type": "nvidia-l4"}, "parallelism": {"tensor": 1}, "engine": {"maxModelLen": 65536}}
    facts = replace(LLAMA_8B, attention_heads=7, kv_heads=7, head_dim=8192, layers=1, weights_bytes=30 * 10**9)
    told = advice(facts, cramped, accelerators=[catalog()["nvidia-l4"]], most=20)
    assert any({"engine"} == set(each.patch) and len(each.patch["engine"]) == 2 for each in told), told


def test_other_accelerators_are_those_that_there_are():
    short = ONE_L4 | {"engine": {"maxModelLen": 8192}}
    told = advice(LLAMA_70B, short, accelerators=[catalog()["amd-mi300x"]], most=20)
    kinds = {each.patch["accelerator"]["type"] for each in told if "type" in each.patch.get("accelerator", {})}
    assert kinds == {"amd-mi300x"}


def test_nothing_is_advised_where_nothing_is_known_or_nothing_helps():
    assert advise(deployment().spec, None) == ()
    monster = replace(LLAMA_8B, weights_bytes=10**16, attention_heads=1, kv_heads=1)
    assert advise(deployment().spec, monster) == ()


def test_patches_are_merged_applied_and_said():
    patch = merged({"engine": {"maxModelLen": 7}}, {"engine": {"kvCacheDtype": "fp8"}, "parallelism": {"tensor": None}})
    assert in_words(patch) == (
        "spec.engine.maxModelLen: 7 and spec.engine.kvCacheDtype: fp8, without spec.parallelism.tensor"
    )
    spec = patched(deployment(parallelism={"tensor": 4}).spec, patch)
    assert (spec.engine.max_model_len, spec.engine.kv_cache_dtype, spec.parallelism.tensor) == (7, "fp8", None)
