"""What is read of a checkpoint, and what is said of one that cannot be read."""

import json
import struct
from pathlib import Path

import pytest

from manta_operator.facts.locate import locate, locator
from manta_operator.facts.models import FactsError, from_config, read

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "max_position_embeddings": 1024,
    "torch_dtype": "float32",
}


def safetensors(header, length=None):
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(body) if length is None else length) + body


def tensor(start, end, dtype="F32"):
    return {"dtype": dtype, "shape": [1], "data_offsets": [start, end]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_from_config():
    facts = from_config(CONFIG, 7)
    assert (facts.layers, facts.kv_heads, facts.head_dim, facts.max_positions) == (4, 2, 32, 1024)
    assert (facts.dtype_bytes, facts.quantization, facts.weights_bytes) == (4.0, None, 7)
    assert facts.kv_bytes_per_token == 2 * 4 * 2 * 32 * 4


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"num_key_value_heads": None}, "kv_heads", 8),
        ({"head_dim": 64}, "head_dim", 64),
        ({"max_position_embeddings": None}, "max_positions", None),
        ({"architectures": None}, "architecture", "unknown"),
        ({"torch_dtype": None}, "dtype_bytes", 2.0),
        ({"torch_dtype": None, "dtype": "float16"}, "dtype_bytes", 2.0),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization", "awq"),
    ],
)
def test_what_may_be_left_out(change, field, value):
    assert getattr(from_config(CONFIG | change), field) == value


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"architectures": ["Llama\ud800ForCausalLM"]}, "architecture", "LlamaForCausalLM"),
        ({"rope_scaling": {"type": "\x1b[2Jown"}}, "rope_scaling", "[2Jown"),
        ({"layer_types": ["\ud800odd"]}, "unmodelled", "layers of odd"),
        ({"quantization_config": {"quant_method": "A\ud800WQ"}}, "quantization", "awq"),
    ],
)
def test_its_words_can_stand_in_a_status(change, field, value):
    assert getattr(from_config(CONFIG | change), field) == value


def test_multimodal_models_nest_the_decoder():
    nested = {"architectures": ["Gemma3"], "text_config": CONFIG}
    assert from_config(nested).layers == 4
    assert from_config(nested).architecture == "Gemma3"


@pytest.mark.parametrize("field", ["num_attention_heads", "hidden_size", "num_hidden_layers"])
@pytest.mark.parametrize("value", [None, 0, -1, "8", 8.5, True])
def test_what_the_arithmetic_needs_must_be_there(field, value):
    with pytest.raises(FactsError, match=f"{field} should be a positive integer"):
        from_config(CONFIG | {field: value})


def test_the_weights_are_summed_over_all_files(folder):
    (folder / "a.safetensors").write_bytes(safetensors({"x": tensor(0, 100), "__metadata__": {"format": "pt"}}))
    (folder / "b.safetensors").write_bytes(safetensors({"y": tensor(0, 20), "z": tensor(20, 50)}))
    assert read(folder).weights_bytes == 150


def test_a_second_copy_of_the_weights_is_not_counted(folder):
    (folder / "model-1.safetensors").write_bytes(safetensors({"x": tensor(0, 100)}))
    (folder / "model-2.safetensors").write_bytes(safetensors({"y": tensor(0, 20)}))
    (folder / "consolidated.safetensors").write_bytes(safetensors({"x": tensor(0, 120)}))
    assert read(folder).weights_bytes == 120


def test_consolidated_weights_alone_are_counted(folder):
    (folder / "consolidated.safetensors").write_bytes(safetensors({"x": tensor(0, 120)}))
    assert read(folder).weights_bytes == 120


def test_the_index_names_the_files_that_count(folder):
    (folder / "model-1.safetensors").write_bytes(safetensors({"x": tensor(0, 100), "y": tensor(100, 104)}))
    (folder / "adapter.safetensors").write_bytes(safetensors({"z": tensor(0, 20)}))
    index = {"weight_map": {"x": "model-1.safetensors", "y": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read(folder).weights_bytes == 104


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"weight_map": [1]}', '{"weight_map": {"x": 1}}'])
def test_a_broken_index_names_its_file(folder, text):
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(FactsError, match=r"index\.json: not a readable index"):
        read(folder)


@pytest.mark.parametrize(
    ("config", "tensors", "expected"),
    [
        ({}, {"x": tensor(0, 100), "y": tensor(100, 110, "BF16")}, 30),
        ({}, {"x": tensor(0, 100, "F8_E4M3")}, None),
        ({"quantization_config": {"quant_method": "fp8"}}, {"x": tensor(0, 100)}, None),
    ],
)
def test_the_parameters_of_an_unquantized_checkpoint_are_counted(tmp_path, config, tensors, expected):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | config))
    (tmp_path / "model.safetensors").write_bytes(safetensors(tensors))
    assert read(tmp_path).parameters == expected


def test_the_experts_and_what_they_are_of_the_weights(folder):
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_local_experts": 4}))
    tensors = {
        "model.layers.0.self_attn.q_proj.weight": tensor(0, 100),
        "model.layers.0.mlp.gate.weight": tensor(100, 120),
        "model.layers.0.mlp.shared_expert.up_proj.weight": tensor(120, 200),
        "model.layers.0.mlp.experts.0.up_proj.weight": tensor(200, 500),
        "model.layers.0.block_sparse_moe.experts.3.w1.weight": tensor(500, 800),
    }
    (folder / "model.safetensors").write_bytes(safetensors({"__metadata__": {}} | tensors))
    facts = read(folder)
    assert facts is not None
    assert (facts.experts, facts.expert_share, facts.weights_bytes) == (4, 0.75, 800)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 0),
        ({"num_experts": 128, "num_local_experts": 8}, 128),
        ({"n_routed_experts": 256}, 256),
        ({"moe_num_experts": [64, 64]}, 64),
        ({"num_experts": 0}, 0),
        ({"num_experts": None, "num_local_experts": 8}, 8),
    ],
)
def test_experts_are_counted_as_vllm_counts_them(config, expected):
    assert from_config(CONFIG | config).experts == expected


def test_latent_attention_caches_one_latent_and_the_rotary_key():
    facts = from_config(CONFIG | {"kv_lora_rank": 512, "qk_rope_head_dim": 64})
    assert facts.latent_dim == 576
    assert facts.kv_bytes_per_token == 4 * 576 * 4.0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 128}, None),
        ({"layer_types": ["full_attention"] * 3}, "3 kinds of layers for 4 layers"),
        ({"layer_types": ["linear_attention", "full_attention"] * 2}, "the state of recurrent layers (no model_type)"),
        ({"layer_types": ["lightning"] * 4}, "layers of lightning"),
        ({"sliding_window": 4096}, None),
        ({"mamba_d_conv": 4}, "the state of recurrent layers (mamba_d_conv)"),
        ({"ssm_state_size": 128}, "the state of recurrent layers (ssm_state_size)"),
        ({"attention_chunk_size": 8192}, None),
        ({"index_topk": 2048}, "sparse attention with an indexer"),
        ({"compress_ratios": [0, 4]}, "caches that are compressed along the context (compress_ratios)"),
        ({"num_local_experts": 8}, None),
    ],
)
def test_what_the_kv_arithmetic_does_not_count_has_a_name(config, words):
    assert from_config(CONFIG | config).unmodelled == words


FLOAT8 = {"type": "float", "num_bits": 8, "dynamic": False}


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        (None, None),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": None}, None),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": FLOAT8}, "fp8"),
        ({"quant_method": "fp8", "kv_cache_scheme": FLOAT8}, None),
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "modelopt", "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}, "fp8"),
        ({"quant_method": "modelopt_fp4", "kv_cache_scheme": FLOAT8}, "fp8"),
        ({"quant_method": "modelopt_fp4", "kv_cache_scheme": FLOAT8 | {"dynamic": True}}, None),
        ({"quant_method": "modelopt_fp4", "kv_cache_scheme": {"type": "float", "num_bits": 4}}, "nvfp4"),
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "INT3"}, None),
        ({"quant_method": "modelopt", "quantization": {"quant_algo": "NVFP4"}}, None),
    ],
)
def test_a_quantized_checkpoint_may_say_what_its_cache_is_stored_as(quantization, expected):
    assert from_config(CONFIG | {"quantization_config": quantization}).kv_cache_dtype == expected


def test_a_model_without_attention_is_unmodelled_and_no_error():
    plain = {"model_type": "mamba2", "hidden_size": 256, "num_hidden_layers": 4}
    assert from_config(plain).unmodelled == "the state of recurrent layers (mamba2)"


def test_a_checkpoint_without_safetensors_has_unknown_weights(folder):
    assert read(folder).weights_bytes is None


@pytest.mark.parametrize("path", ["nothing", "config.json/below"])
def test_what_is_not_there_is_none(folder, path):
    assert read(folder / path) is None


@pytest.mark.parametrize("text", ["{", "[]", "null", "\xff", '{"text_config": 3}', '{"quantization_config": [1]}'])
def test_a_broken_config_names_its_file(tmp_path, text):
    (tmp_path / "config.json").write_text(text, "latin-1")
    with pytest.raises(FactsError, match=r"config\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01\x02",
        safetensors(b"{"),
        safetensors(b"[]"),
        safetensors({"x": {}}),
        safetensors({"x": {"data_offsets": [0]}}),
        safetensors({"x": {"data_offsets": ["a", "b"]}}),
        safetensors(b"{}", length=1000),
        safetensors(b"{}", length=1 << 40),
        safetensors(b"\xff\xfe\xfd"),
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
    ids=[
        "empty",
        "short",
        "not JSON",
        "a list",
        "no offsets",
        "one offset",
        "offsets of text",
        "truncated",
        "huge",
        "not text",
        "pointer",
    ],
)
def test_a_broken_checkpoint_names_its_file(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(FactsError, match=r"model\.safetensors: not a"):
        read(folder)


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("file:///models/tiny", "/here/tiny"),
        ("file:///models/big/llama", "/disk/llama"),
        ("file:///models", "/here"),
        ("file:///modelsother/tiny", None),
        ("file:///srv/x", None),
        ("hf://org/name", None),
        ("pvc://claim/path", None),
    ],
)
def test_locate_takes_the_longest_prefix(uri, found):
    maps = {"/models": Path("/here"), "/models/big": Path("/disk")}
    assert locate(uri, maps) == (Path(found) if found else None)


def test_this_machine_may_be_the_node():
    assert locate("file:///srv/x", {"/": Path("/"), "/models": Path("/here")}) == Path("/srv/x")


def test_locator_reads_what_it_can_see(folder):
    facts = locator({"/models": folder.parent})
    assert facts(f"file:///models/{folder.name}").layers == 4
    assert facts("hf://org/name") is None
