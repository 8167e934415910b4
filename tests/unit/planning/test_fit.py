"""The fit: which shape is chosen, and what is refused with which remedy."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, TINY, deployment

from manta_operator.facts.steps import Step
from manta_operator.planning.fit import kv_bytes_per_token
from manta_operator.planning.search import Choice, decide
from manta_operator.planning.shape import Shape

GIB = 2**30


def choice(facts, **spec) -> Choice:
    decided = decide(deployment(**spec).spec, facts)
    assert isinstance(decided, Choice), decided
    return decided


def refusal(facts, **spec):
    decided = decide(deployment(**spec).spec, facts)
    assert not isinstance(decided, Choice), decided
    return decided


@pytest.mark.parametrize(
    ("case", "facts", "spec", "expected"),
    [
        ("one GPU is enough", LLAMA_8B, {}, Shape(1, 1, 1, "uni")),
        ("too large for one L4", LLAMA_8B, {"accelerator": {"type": "nvidia-l4"}}, Shape(2, 1, 2, "mp")),
        ("the spec wins", LLAMA_8B, {"parallelism": {"tensor": 4}}, Shape(4, 1, 4, "mp")),
        (
            "several pods are Ray's",
            LLAMA_8B,
            {"parallelism": {"tensor": 2}, "accelerator": {"perPod": 1}},
            Shape(2, 1, 1, "ray"),
        ),
        ("two nodes of eight", LLAMA_8B, {"parallelism": {"tensor": 8, "pipeline": 2}}, Shape(8, 2, 8, "ray")),
        (
            "ray where it is asked for",
            LLAMA_8B,
            {"parallelism": {"tensor": 2}, "engine": {"executor": "ray"}},
            Shape(2, 1, 2, "ray"),
        ),
        ("unknown model: what a pod holds", None, {"accelerator": {"perPod": 4}}, Shape(4, 1, 4, "mp")),
        ("cpu: one rank", TINY, {"accelerator": {"type": "cpu"}}, Shape(1, 1, 1, "uni")),
    ],
)
def test_shape(case, facts, spec, expected):
    assert choice(facts, **spec).shape == expected, case


def test_numbers_of_llama_8b_on_one_h100():
    facts = replace(LLAMA_8B, step=Step(vocabulary=128_256, intermediate=14_336))
    fit = choice(facts, engine={"maxModelLen": 8192}).fit
    assert fit.fits == "True"
    assert fit.weights_per_rank == LLAMA_8B.weights_bytes
    # context 0.2, 1,024 logits of 16 bytes 1.96, graphs 0.4 + 32 x 7 MiB
    assert fit.overhead_per_rank is not None
    assert fit.overhead_per_rank.value == pytest.approx(2.78 * GIB, rel=0.01)
    # 0.90 x 79.18 GiB - 14.96 GiB - 2.78 GiB = 53.5 GiB, at 128 KiB a token
    assert fit.kv_cache_per_rank == pytest.approx(53.5 * GIB, rel=0.01)
    assert fit.kv_cache_tokens == pytest.approx(438_500, rel=0.01)
    assert fit.concurrency == pytest.approx(53.5, rel=0.01)
    assert fit.kv_bytes_per_token == 131_072
    assert fit.margin_per_rank == fit.kv_cache_per_rank - 8192 * 131_072


@pytest.mark.parametrize(
    ("case", "shape", "engine", "expected"),
    [
        ("grouped-query attention", Shape(1, 1, 1, "uni"), {}, 131072),
        ("tensor parallel shares the heads", Shape(4, 1, 4, "mp"), {}, 32768),
        ("fewer KV heads than ranks: replicated", Shape(16, 1, 8, "ray"), {}, 16384),
        ("pipeline shares the layers", Shape(1, 2, 2, "mp"), {}, 65536),
        ("fp8 cache", Shape(1, 1, 1, "uni"), {"kvCacheDtype": "fp8"}, 65536),
        ("nvfp4 cache", Shape(1, 1, 1, "uni"), {"kvCacheDtype": "nvfp4"}, 36864),
        ("float32 activations", Shape(1, 1, 1, "uni"), {"dtype": "float32"}, 262144),
    ],
)
def test_kv_bytes_per_token(case, shape, engine, expected):
    assert kv_bytes_per_token(deployment(engine=engine).spec.engine, shape, LLAMA_8B) == expected, case


def test_a_checkpoint_that_wants_its_cache_in_fp8_gets_it_unless_the_spec_says_otherwise():
    facts, whole = replace(LLAMA_8B, kv_cache_dtype="fp8"), Shape(1, 1, 1, "uni")
    assert kv_bytes_per_token(deployment().spec.engine, whole, facts) == 65536
    asked = deployment(engine={"kvCacheDtype": "bfloat16"}).spec.engine
    assert kv_bytes_per_token(asked, whole, facts) == 131072


def test_latent_attention_is_not_shared_by_tensor_ranks():
    facts = replace(LLAMA_8B, latent_dim=576)
    engine = deployment().spec.engine
    assert kv_bytes_per_token(engine, Shape(1, 1, 1, "uni"), facts) == 32 * 576 * 2
    assert kv_bytes_per_token(engine, Shape(8, 1, 8, "mp"), facts) == 32 * 576 * 2
    assert kv_bytes_per_token(engine, Shape(1, 4, 4, "mp"), facts) == 8 * 576 * 2


@pytest.mark.parametrize(
    ("case", "facts", "engine", "expected"),
    [
        ("as it is", {}, {}, 16_060_522_496),
        ("float32 doubles", {}, {"dtype": "float32"}, 2 * 16_060_522_496),
        ("fp8 while loading", {}, {"quantization": "fp8_per_tensor"}, 16_060_522_496 // 2),
        ("experts of 8 bits", {"experts": 8}, {"quantization": "int8_per_channel_weight_only"}, 16_060_522_496 // 2),
        ("fp8 per channel", {}, {"quantization": "fp8_per_channel"}, 16_060_522_496 // 2),
        ("vLLM loads float32 as 16 bits", {"dtype_bytes": 4.0}, {}, 16_060_522_496 // 2),
        ("files wider than the config says", {"parameters": 4_000_000_000}, {}, 8_000_000_000),
        ("a quantized checkpoint is what it is", {"quantization": "awq"}, {"dtype": "float32"}, 16_060_522_496),
    ],
)
def test_weights_are_counted_as_they_are_loaded(case, facts, engine, expected):
    fit = choice(replace(LLAMA_8B, **facts), engine=engine | {"maxModelLen": 1024}).fit
    assert fit.weights_per_rank == expected, case


@pytest.mark.parametrize(
    ("facts", "engine", "words"),
    [
        ({}, {"quantization": "torchao"}, "not modelled yet: quantization torchao"),
        ({"unmodelled": "layers of linear_attention"}, {}, "not modelled yet: layers of linear_attention"),
        ({"weights_bytes": None}, {}, "no safetensors files"),
    ],
)
def test_what_is_not_counted_is_unknown_and_never_refused(facts, engine, words):
    fit = choice(replace(LLAMA_8B, **facts), engine=engine).fit
    assert fit.fits == "Unknown"
    assert words in fit.message
    assert fit.kv_cache_tokens is None


def test_weights_that_do_not_fit_are_refused_even_where_the_cache_is_not_counted():
    hybrid = replace(LLAMA_8B, unmodelled="layers of linear_attention")
    (problem,) = refusal(replace(hybrid, weights_bytes=900 * GIB), parallelism={"tensor": 8})
    assert "no room for a KV cache" in problem.message
    assert choice(hybrid, accelerator={"type": "nvidia-l4"}, engine={"dtype": "float32"}).shape.tensor == 2


@pytest.mark.parametrize(
    ("heads", "kv_heads", "latent", "allowed"),
    [
        (32, 8, None, [1, 2, 4, 8, 16, 32]),
        (24, 6, None, [1, 2, 3, 6, 12, 24]),
        (24, 6, 576, [1, 2, 3, 4, 6, 8, 12, 24]),
    ],
)
def test_the_heads_say_how_wide_a_replica_may_be(heads, kv_heads, latent, allowed):
    facts = replace(LLAMA_8B, attention_heads=heads, kv_heads=kv_heads, latent_dim=latent)
    wide = {"accelerator": {"type": "nvidia-h200", "perPod": 1}}
    decided = {
        width: decide(deployment(**wide, parallelism={"tensor": width}).spec, facts) for width in range(1, heads + 1)
    }
    assert [width for width, found in decided.items() if isinstance(found, Choice)] == allowed


def test_the_planner_tries_no_width_that_the_kv_heads_forbid():
    facts = replace(LLAMA_8B, attention_heads=24, kv_heads=6, weights_bytes=50 * GIB)
    found = choice(facts, accelerator={"type": "nvidia-l4"}, engine={"maxModelLen": 1024})
    assert (found.shape.tensor, found.shape.pipeline) == (2, 2)
    assert [str(each).partition(":")[0] for each in found.rejected] == [
        "tensor 1 x pipeline 1",
        "tensor 2 x pipeline 1",
        "tensor 4 x pipeline 1",
    ]
    assert "4 neither divides nor is a multiple of the 6 KV heads" in found.rejected[2].why


@pytest.mark.parametrize(
    ("facts", "spec", "path", "words"),
    [
        (
            replace(LLAMA_8B, quantization="awq"),
            {"engine": {"quantization": "none"}},
            "spec.engine.quantization",
            ["quantized with awq", "use auto"],
        ),
        (
            replace(LLAMA_8B, kv_heads=6, attention_heads=24),
            {"parallelism": {"tensor": 4}},
            "spec.parallelism.tensor",
            ["4 neither divides nor is a multiple of the 6 KV heads", "use one of 1, 2, 3, 6, 12, 24"],
        ),
        (TINY, {"parallelism": {"tensor": 3}}, "spec.parallelism.tensor", ["8 attention heads", "1, 2, 4, 8"]),
        (TINY, {"parallelism": {"pipeline": 5}}, "spec.parallelism.pipeline", ["4 layers", "use 4 or fewer"]),
        (
            TINY,
            {"parallelism": {"tensor": 4}, "accelerator": {"perPod": 3}},
            "spec.accelerator.perPod",
            ["3 does not divide the 4 ranks", "1, 2, 4"],
        ),
        (
            TINY,
            {"parallelism": {"tensor": 4}, "accelerator": {"perPod": 2}, "engine": {"executor": "mp"}},
            "spec.engine.executor",
            ["need 2", "perPod: 4"],
        ),
        (TINY, {"accelerator": {"type": "abacus"}}, "spec.accelerator.type", ["'abacus'", "nvidia-h200"]),
        (
            LLAMA_8B,
            {"parallelism": {"tensor": 1}, "accelerator": {"type": "nvidia-l4"}, "engine": {"maxModelLen": 131072}},
            "spec",
            ["does not fit", "set spec.parallelism.tensor: 2 (2 x nvidia-l4 for each replica, 1."],
        ),
        (
            replace(LLAMA_8B, weights_bytes=900 * GIB),
            {"parallelism": {"tensor": 8}},
            "spec",
            ["no room for a KV cache"],
        ),
    ],
)
def test_refusals_name_the_field_and_the_remedy(facts, spec, path, words):
    (problem,) = refusal(facts, **spec)
    assert problem.path == path
    for word in words:
        assert word in str(problem)


def test_a_fixed_cache_that_does_not_fit_beside_the_weights_is_refused():
    (problem,) = refusal(
        LLAMA_8B, accelerator={"type": "nvidia-l4"}, parallelism={"tensor": 1}, engine={"kvCacheMemory": "20Gi"}
    )
    assert "does not fit" in problem.message


def test_an_unseen_checkpoint_is_unknown_and_never_guessed():
    fit = choice(None).fit
    assert fit.fits == "Unknown"
    assert fit.kv_cache_tokens is None
    assert "hf://org/model" in fit.message
    assert "--map" not in fit.message


def test_an_unseen_folder_names_the_flag_that_shows_it():
    assert "--map" in choice(None, model={"uri": "file:///models/tiny"}).fit.message


def test_an_unseen_checkpoint_that_must_not_be_quantized_is_unchecked():
    assert "nor whether it is quantized" in choice(None, engine={"quantization": "none"}).fit.message


def test_memory_of_a_cpu_pod_counts_every_rank_in_it():
    one = choice(TINY, accelerator={"type": "cpu"}, engine={"kvCacheMemory": "64Mi"}).fit
    two = choice(
        TINY, accelerator={"type": "cpu", "perPod": 2}, parallelism={"tensor": 2}, engine={"kvCacheMemory": "64Mi"}
    ).fit
    assert one.memory_per_pod == TINY.weights_bytes + 64 * 2**20 + int(1.5 * GIB)
    assert two.memory_per_pod == 2 * (TINY.weights_bytes // 2 + 64 * 2**20 + int(1.5 * GIB))
