"""How long a context a model was made for, and whether it scales its positions itself."""

import pytest

from manta_operator.facts.context import SEVERAL, default_context, longest_context, own_scaling
from manta_operator.facts.models import from_config

LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("case", "config", "length", "scaling"),
    [
        ("plain", {"max_position_embeddings": 2048}, 2048, None),
        ("nothing said", {}, None, None),
        ("plain, as Transformers 5 writes it",
         {"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 2048, None),
        ("Llama 3.1", {"max_position_embeddings": 131072, "rope_scaling": LLAMA_3}, 131072, "llama3"),
        ("linear is not in the length yet",
         {"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}}, 16384, "linear"),
        ("yarn is",
         {"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 131072, "yarn"),
        ("GPT-2", {"n_positions": 1024}, 1024, None),
        ("the least counts", {"max_position_embeddings": 8192, "seq_length": 4096}, 4096, None),
        ("Command R", {"max_position_embeddings": 8192, "model_max_length": 131072}, 131072, None),
        ("Gemma 3", {"model_type": "gemma3_text", "max_position_embeddings": 131072,
                     "rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 131072, "linear"),
        ("a kind for each kind of layer", {"max_position_embeddings": 32768, "rope_parameters": {
            "full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "default"}}},
         32768, SEVERAL),
        ("images", {"max_position_embeddings": 32768, "rope_scaling": {"type": "mrope", "mrope_section": [1]}},
         32768, None),
        ("a factor that is none", {"max_position_embeddings": 10, "rope_scaling": {"type": "linear"}}, 10, "linear"),
    ],
)  # fmt: skip
def test_context(case, config, length, scaling):
    assert (longest_context(config), own_scaling(config)) == (length, scaling), case


LONGROPE = {"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope", "long_factor": [1.0]}}


@pytest.mark.parametrize(
    ("case", "config", "length"),
    [
        ("plain", {"max_position_embeddings": 2048}, 2048),
        ("Phi-3 of 128k", LONGROPE | {"original_max_position_embeddings": 4096}, 4096),
        ("by its old name",
         LONGROPE | {"original_max_position_embeddings": 4096, "rope_scaling": {"type": "su"}}, 4096),
        ("vLLM looks beside the scaling, not into it",
         LONGROPE | {"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 4096}}, 131072),
        ("Llama 3.1", {"max_position_embeddings": 131072, "rope_scaling": LLAMA_3}, 131072),
        ("nothing said", {}, None),
    ],
)  # fmt: skip
def test_the_length_that_nobody_asked_for(case, config, length):
    assert default_context(config) == length, case


BASE = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1}


@pytest.mark.parametrize(
    ("config", "quantization"),
    [
        ({}, None),
        ({"quantization_config": {"quant_method": "GPTQ"}}, "gptq"),
        ({"quantization_config": {"bits": 4}}, "unknown"),
        ({"compression_config": {"format": "pack-quantized"}}, "compressed-tensors"),
        ({"text_config": BASE | {"quantization_config": {"quant_method": "awq"}}}, "awq"),
    ],
)
def test_quantization_is_found_where_vllm_looks_for_it(config, quantization):
    assert from_config(BASE | config).quantization == quantization
