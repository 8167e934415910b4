"""Whether an adapter was made for a model, told from names and shapes."""

import pytest
from lora import adapter_files, write_adapter
from running import MODELS

from manta_runtime.engine.adapters_fit import judge_fit, misfit

MODEL = {f"model.layers.{n}.self_attn.{name}.weight": (256, 512) for n in range(2) for name in ("q_proj", "o_proj")}
LAYER_0 = "model.layers.0.self_attn.q_proj.weight"
LAYER = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"


def adapter(a=(8, 512), b=(256, 8), layer=0):
    return {LAYER.format(layer, "A"): a, LAYER.format(layer, "B"): b}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (adapter(), ""),
        (adapter(layer=1), ""),
        (adapter(a=(8, 128)), "has 128 inputs, the model's 512"),
        (adapter(a=(8, 1024)), "has 1024 inputs, the model's 512"),
        (adapter(b=(128, 8)), "has 128 outputs, the model's 256"),
        (adapter(b=(999, 8)), "has 999 outputs, the model's 256"),
        (adapter(layer=2), "it has a layer model.layers.2.self_attn.q_proj, which the model has not"),
        ({"base_model.model.model.layers.0.self_attn.qkv.lora_A.weight": (8, 9)}, ""),
        ({"base_model.model.lm_head.lora_A.weight": (8, 9)}, ""),
        ({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": ()}, ""),
        ({LAYER_0: (1, 1)}, ""),
    ],
    ids=[
        "fits", "fits in another layer", "narrow", "wide", "few outputs", "many outputs", "too deep", "unknown layer",
        "another name", "no matrix", "not of an adapter",
    ],
)  # fmt: skip
def test_an_adapter_of_another_model_is_told_from_its_shapes(tensors, words):
    found = judge_fit(tensors, MODEL)
    assert (words in found) if words else (found == "")


def test_of_packed_weights_nothing_is_told(tmp_path):
    packed = {"model.layers.1.self_attn.q_proj.weight_packed": None, "model.layers.2.self_attn.q_proj.weight": None}
    for layer in (1, 2):
        assert judge_fit(adapter(a=(8, 9), layer=layer), {LAYER_0: (256, 512)} | packed) == ""
    assert "layers.3" in judge_fit(adapter(layer=3), {LAYER_0: (256, 512)} | packed)
    assert judge_fit(adapter(a=(8, 256)), {}) == ""
    assert misfit(tmp_path, tmp_path / "none") == ""


def test_a_header_that_would_keep_the_launcher_from_everything_else_is_refused(tmp_path):
    for megabytes, words in ((16, ""), (17, "has a header of 17 MB, more than 16 MB"), (101, "")):
        header = b'{"x": {}}'.ljust(megabytes * 10**6) if megabytes < 100 else b""
        file = (megabytes * 10**6).to_bytes(8, "little") + header
        found = misfit(write_adapter(tmp_path / str(megabytes), {"adapter_model.safetensors": file}), tmp_path / "none")
        assert (words in found) if words else (found == "")


def test_files_are_read_by_their_headers(tmp_path):
    model = MODELS / "tiny"
    if not model.is_dir():
        pytest.skip("no tiny model here: run `make model` first")
    assert misfit(write_adapter(tmp_path / "good", adapter_files(1)), model) == ""
    for name, share in (("wide", 2), ("narrow", 0.5)):
        folder = write_adapter(tmp_path / name, adapter_files(1, wide=share))
        assert f"has {int(256 * share)} inputs, the model's 256: it was made for another model" in misfit(folder, model)
    for name, text in (
        ("text", b"hello"),
        ("huge", b"\xff" * 9),
        ("list", b"\2" + b"\0" * 7 + b"[]"),
        ("number", b"\7" + b"\0" * 7 + b'{"a":5}'),
    ):
        folder = write_adapter(tmp_path / name, {"adapter_model.safetensors": text})
        assert misfit(folder, model) == "", "vLLM has words for that"
