"""What the weights take on the fullest rank: shares, stages, quantization, adapters and guesses, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from manta_operator.api.adapters import LoraSpec
from manta_operator.api.models import EngineSpec
from manta_operator.facts.accelerators import catalog as accelerators
from manta_operator.facts.anatomy.formats import FP8_BLOCK, FP8_CHANNEL, MXFP4, NVFP4
from manta_operator.facts.anatomy.parts import Anatomy, Weight
from manta_operator.facts.models import ModelFacts, from_config
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.memory.weights import on_rank
from manta_operator.planning.memory.weights_rank import Loading, partitions
from manta_operator.planning.memory.weights_rank import on_rank as of_one
from manta_operator.planning.shape import Shape

BF16 = Loading(2.0)
MI300X = accelerators()["amd-mi300x"]
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
TABLE = 131072 * 128 * 2
"""Bytes of vLLM's table of positions for it, on every rank."""
LAYER = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336
"""Parameters of its matrices in one layer."""
VOCABULARY = 128256 * 4096
NORMS = 65 * 4096


def shape(tensor: int = 1, pipeline: int = 1, data: int = 1, expert: bool = False) -> Shape:
    return Shape(tensor, pipeline, tensor * pipeline * data, "mp", data, expert)


def facts(**changed: Any) -> ModelFacts:
    return from_config(LLAMA | changed)


def taken(of: ModelFacts, on: Shape | None = None, **engine: Any) -> float:
    found = on_rank(EngineSpec.model_validate(engine), of, on or shape())
    assert isinstance(found, Estimate), found
    return found.value


@pytest.mark.parametrize(
    ("weight", "on", "numbers"),
    [
        pytest.param(Weight("norm", 64, 1, split="none"), shape(8), 64, id="all ranks have it"),
        pytest.param(Weight("q", 64, 32), shape(8), 64 * 32 / 8, id="cut over tensor ranks"),
        pytest.param(Weight("q", 64, 32), shape(2, 2, 2), 64 * 32 / 2, id="not over stages nor data ranks"),
        pytest.param(Weight("k", 64, 32, split="kv", ways=4), shape(2), 64 * 32 / 2, id="KV heads cut"),
        pytest.param(Weight("k", 64, 32, split="kv", ways=4), shape(8), 64 * 32 / 4, id="KV heads replicated"),
        pytest.param(Weight("e", 100, 32, split="vocab"), shape(2), 128 * 32 / 2, id="vocabulary padded to 64"),
        pytest.param(Weight("x", 64, 32, 6, "experts"), shape(2, 1, 2), 6 * 64 * 32 / 4, id="slices of experts"),
        pytest.param(Weight("x", 64, 32, 6, "experts"), shape(2, 1, 2, True), 2 * 64 * 32, id="whole experts"),
    ],
)
def test_the_share_of_a_rank(weight: Weight, on: Shape, numbers: float) -> None:
    assert of_one(weight, BF16, on) == 2 * numbers


@pytest.mark.parametrize(
    ("weight", "on", "expected"),
    [
        pytest.param(Weight("q", 256, 512, stored=FP8_BLOCK), shape(), 256 * 512 + 4 * 2 * 4, id="fp8 blocks"),
        pytest.param(Weight("q", 256, 512, stored=FP8_CHANNEL), shape(2), 128 * 512 + 128 * 4, id="fp8 rows"),
        pytest.param(
            Weight("o", 256, 512, stored=FP8_CHANNEL, inner=True), shape(2), 256 * 256 + 256 * 4, id="rows, cut inside"
        ),
        pytest.param(
            Weight("x", 2880, 2880, 32, "experts", stored=MXFP4, inner=True),
            shape(8),
            32 * (3072 * 384 // 2 + 3072 * 384 // 32),
            id="mxfp4, rounded up: 2880 to 3072, and 360 to 384",
        ),
        pytest.param(
            Weight("x", 1856, 2688, 2, "experts", stored=NVFP4, step=128),
            shape(2),
            2 * (1024 * 2688 // 2 + 1024 * 2688 // 16),
            id="nvfp4, slices of experts without a gate: 928 to 1024",
        ),
        pytest.param(
            Weight("self_attn.kv_b_proj", 256, 512, stored=FP8_BLOCK),
            shape(2),
            128 * 512 + 4 * 4 + 2 * 128 * 512,
            id="what latent attention unpacks once more",
        ),
    ],
)
def test_the_bytes_of_a_quantized_matrix(weight: Weight, on: Shape, expected: float) -> None:
    assert of_one(weight, BF16, on) == expected


def test_a_whole_model() -> None:
    assert taken(facts()) == 2 * (32 * LAYER + 2 * VOCABULARY + NORMS) + TABLE
    assert taken(facts(), shape(8)) == 2 * ((32 * LAYER + 2 * VOCABULARY) / 8 + NORMS) + TABLE


def test_few_kv_heads_are_replicated() -> None:
    replicated = 32 * 2 * 1024 * 4096 * (1 / 8 - 1 / 16)
    cut = 2 * ((32 * LAYER + 2 * VOCABULARY) / 16 + NORMS) + TABLE
    assert taken(facts(), shape(16)) == cut + 2 * replicated


def test_the_last_of_two_stages_has_the_head_and_the_last_norm() -> None:
    assert taken(facts(), shape(1, 2)) == 2 * (16 * LAYER + VOCABULARY + 33 * 4096) + TABLE


def test_tied_embeddings_are_on_both_ends() -> None:
    tied = facts(tie_word_embeddings=True)
    assert taken(tied) == taken(facts()) - 2 * VOCABULARY
    assert taken(tied, shape(1, 2)) == taken(facts(), shape(1, 2))


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [(32, 4, [8, 8, 8, 8]), (61, 4, [15, 15, 16, 15]), (61, 2, [31, 30]), (94, 4, [23, 24, 24, 23])],
)
def test_layers_that_remain_go_to_the_middle(layers: int, stages: int, expected: list[int]) -> None:
    assert partitions(layers, stages) == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("fp8_per_tensor", 32 * (LAYER + 7 * 4)),
        ("fp8_per_channel", 32 * (LAYER + 4 * (2 * 4096 + 2 * 1024 + 2 * 14336 + 4096))),
        ("fp8_per_block", 32 * (LAYER + LAYER // 128**2 * 4)),
        ("mxfp8", 32 * (LAYER + LAYER // 32)),
    ],
)
def test_what_quantizes_while_loading_leaves_embeddings_and_norms(method: str, expected: int) -> None:
    assert taken(facts(), quantization=method) == expected + 2 * (2 * VOCABULARY + NORMS) + TABLE


def test_what_is_not_known_is_said() -> None:
    said = on_rank(EngineSpec.model_validate({"quantization": "torchao"}), facts(), shape())
    assert said == "not modelled yet: quantization torchao of a checkpoint that is not quantized"
    strange = facts(quantization_config={"quant_method": "abacus"})
    assert on_rank(EngineSpec(), strange, shape()) == "weights quantized with abacus are not counted"


def test_a_float32_checkpoint_is_loaded_in_16_bits_or_as_it_is_asked_for() -> None:
    single = facts(torch_dtype="float32")
    assert taken(single) == taken(facts())
    assert taken(single, dtype="float32") == 2 * taken(facts())


@pytest.mark.parametrize("tensor", [1, 2])
def test_room_for_adapters(tensor: int) -> None:
    """For each slot `rank` rows of inputs, whole, and `rank` columns of outputs, cut; o and down the other way."""
    inputs, outputs = 5 * 4096, 4096 + 2 * 1024 + 2 * 14336
    inner = (4096 + 14336) / tensor + 2 * 4096
    ends = 2 * (4096 + 128256 / tensor)
    room = 2 * 16 * 2 * (32 * (inputs + outputs / tensor + inner) + ends)
    asked = {"lora": {"maxLoaded": 2, "maxRank": 16}}
    assert taken(facts(), shape(tensor), **asked) == taken(facts(), shape(tensor)) + room
    beside = on_rank(EngineSpec(), facts(), shape(tensor), lora=LoraSpec(max_loaded=2, max_rank=16))
    assert isinstance(beside, Estimate)
    assert beside.value == taken(facts(), shape(tensor), **asked)


def test_a_tied_head_has_room_for_adapters_of_its_own() -> None:
    """As in vLLM 0.32 for the tiny model with four slots of rank 16: 3,014,656 bytes in its lora_*_stacked."""
    tied = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8}
    tiny = facts(**tied, num_key_value_heads=2, vocab_size=2048, tie_word_embeddings=True)
    room = taken(tiny, lora={"maxLoaded": 4, "maxRank": 16}) - taken(tiny)
    assert room == 3_014_656


def test_the_layer_that_guesses_is_loaded_only_where_it_is_asked_for() -> None:
    guessing = facts(num_nextn_predict_layers=1)
    assert taken(guessing) == taken(facts())
    more = taken(guessing, speculative={"method": "mtp", "tokens": 1}) - taken(facts())
    assert more == 2 * (LAYER + 2 * 4096 + 2 * 4096 * 4096 + 3 * 4096)
    assert taken(guessing, speculative={"method": "ngram", "tokens": 1}) == taken(facts())


def test_a_draft_is_loaded_beside() -> None:
    small = facts(num_hidden_layers=2)
    asked = {"speculative": {"method": "draft_model", "tokens": 3, "model": {"uri": "hf://org/small"}}}
    both = on_rank(EngineSpec.model_validate(asked), facts(), shape(2), draft=small)
    assert isinstance(both, Estimate)
    assert both.value == taken(facts(), shape(2)) + taken(small, shape(2))


def test_without_an_anatomy_the_sum_is_shared_out() -> None:
    summed = replace(facts(), anatomy=None, weights_bytes=1000, parameters=500)
    assert taken(summed, shape(2, 2)) == 250
    unseen = replace(facts(), anatomy=None, uncounted="its layers are not known")
    assert on_rank(EngineSpec(), unseen, shape()) == "its layers are not known"


def test_the_bounds_are_those_of_the_anatomy() -> None:
    anatomy = Anatomy(((Weight("q", 8, 8),),), (), spread=0.25)
    found = on_rank(EngineSpec(), replace(facts(), anatomy=anatomy), shape())
    assert found == Estimate(128.0, 96.0, 160.0)


def test_bounds_are_those_of_the_kernels_that_round_experts_up_least_and_most() -> None:
    experts = Weight("x", 200, 512, 4, "experts", stored=MXFP4)
    anatomy = Anatomy(((experts,),), (), spread=0.0)
    found = on_rank(EngineSpec(), replace(facts(), anatomy=anatomy), shape())
    bare, usual = 4 * (200 * 512 // 2 + 200 * 512 // 32), 4 * (256 * 512 // 2 + 256 * 512 // 32)
    assert found == Estimate(usual, bare, usual)


def test_rocm_may_keep_more() -> None:
    cuda, rocm = on_rank(EngineSpec(), facts(), shape()), on_rank(EngineSpec(), facts(), shape(), on=MI300X)
    assert isinstance(cuda, Estimate)
    assert isinstance(rocm, Estimate)
    assert (rocm.value, rocm.low) == (cuda.value, cuda.low)
    assert rocm.high == pytest.approx(1.2 * cuda.high)
