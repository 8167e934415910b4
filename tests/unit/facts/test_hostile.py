"""A `config.json` is a stranger's: whatever it holds, the answer is facts or a FactsError, soon and small."""

import copy
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts import catalog
from manta_operator.facts.models import FactsError, from_config, read
from manta_operator.planning.search import decide

HOSTILE: tuple[Any, ...] = (
    *(None, 0, -1, 1, 3, 7, 10**6, 2**53, 10**18, 10**30, 10**400, 1.5, 1e300, float("nan"), float("inf"), True, False),
    *("", "abc", "16", [], [1], ["a"], [None], [[]], {}, {"a": 1}, [{}], ["x"] * 5, [{"a": [1]}], "full_attention"),
)
ENGINES: tuple[dict[str, Any], ...] = (
    {},
    {"kvCacheDtype": "fp8"},
    {"speculative": {"method": "mtp", "tokens": 2}},
    {"quantization": "fp8_per_channel"},
    {"lora": {"maxLoaded": 2, "maxRank": 16}},
)
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def spec(accelerator: str = "nvidia-h100-80gb", engine: dict[str, Any] | None = None) -> LLMDeploymentSpec:
    said = {"model": {"uri": "hf://a/b"}, "accelerator": {"type": accelerator}, "engine": engine or {}}
    return LLMDeploymentSpec.model_validate(said)


def config(name: str = LLAMA, **changed: Any) -> dict[str, Any]:
    return json.loads(json.dumps(catalog.entries()[name].config)) | changed


def places(said: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Every field, wherever it is."""
    for key, value in said.items():
        yield said, key
        if isinstance(value, dict):
            yield from places(value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_field_the_planner_answers(data: st.DataObject) -> None:
    said = config(data.draw(st.sampled_from(sorted(catalog.entries()))))
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(list(places(said))))
        holder[key] = copy.deepcopy(data.draw(st.sampled_from(HOSTILE)))
    try:
        facts = from_config(said)
    except FactsError:
        return
    decide(
        spec(data.draw(st.sampled_from(("nvidia-h100-80gb", "nvidia-l4", "cpu"))), data.draw(st.sampled_from(ENGINES))),
        facts,
    )


@pytest.mark.parametrize(
    ("name", "changed", "sentence"),
    [
        (
            LLAMA,
            {"num_hidden_layers": 10**18},
            "num_hidden_layers should be a positive integer, it is 'a number beyond",
        ),
        (LLAMA, {"num_hidden_layers": 10_000_000}, "num_hidden_layers is 10000000, and no model has more than 2,000"),
        (LLAMA, {"hidden_size": float("inf")}, "hidden_size should be a positive integer, it is 'a number that is not"),
        (LLAMA, {"a": [[]] * 2_000_000}, "more than 1,000,000 values"),
        ("google/gemma-3-4b-it", {"num_hidden_layers": None, "text_config": [1]}, "text_config should be an object"),
    ],
)
def test_what_is_no_model_is_said(name: str, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FactsError, match="config\\.json") as told:
        from_config(config(name) | changed)
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("name", "changed", "sentence"),
    [
        (LLAMA, {"quantization_config": {"quant_method": "gptq", "bits": -5}}, "-5 bits a parameter"),
        (LLAMA, {"vocab_size": 10**400}, "vocab_size should be a whole number"),
        (LLAMA, {"mlp_only_layers": [7] * 5000, "num_experts": 4}, "mlp_only_layers has 5000 entries"),
        ("zai-org/GLM-4.5-Air", {"partial_rotary_factor": float("nan")}, "partial_rotary_factor should be a number"),
        (LLAMA, {"hybrid_override_pattern": "M" * 5_000_000}, "hybrid_override_pattern is of 5000000 layers"),
    ],
)
def test_what_cannot_be_counted_is_said(name: str, changed: dict[str, Any], sentence: str) -> None:
    facts = from_config(config(name) | changed)
    assert facts.anatomy is None
    assert sentence in str(facts.uncounted)


def test_what_nobody_asks_for_does_no_harm() -> None:
    plain = from_config(config())
    assert from_config(config(model_max_length=10**30, time_step_limit=[0.0, float("inf")], other=10**400)) == plain


def test_words_are_not_multiplied() -> None:
    name = next(name for name, entry in catalog.entries().items() if "linear_num_value_heads" in str(entry.config))
    said = config(name)
    (said.get("text_config") or said).update(linear_num_key_heads="x", linear_key_head_dim=2**40)
    assert "recurrent" in str(from_config(said).unmodelled)


def test_what_has_no_end_is_no_model(tmp_path: Path) -> None:
    endless = config()
    endless["a"] = endless
    with pytest.raises(FactsError, match="nested more than 32 deep"):
        from_config(endless)
    (tmp_path / "config.json").write_text('{"a":' * 100_000, encoding="utf-8")
    with pytest.raises(FactsError, match="config\\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "BF16", "shape": [2**60] * 100_000, "data_offsets": [0, 4]},
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, 10**400]},
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, float("inf")]},
        {"dtype": "BF16", "shape": [2], "data_offsets": [4, 0]},
    ],
    ids=["a hundred thousand dimensions", "beyond any disk", "without an end", "backwards"],
)
def test_a_tensor_that_no_file_has(tmp_path: Path, tensor: dict[str, Any]) -> None:
    header = json.dumps({"model.norm.weight": tensor}).encode()
    (tmp_path / "config.json").write_text(json.dumps(config()), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(FactsError, match="not a readable safetensors file"):
        read(tmp_path)
