"""The benchmark of the fit: what it makes of records, names of GPUs and files of other people."""

from dataclasses import replace

import pytest
from fit import gpus, models
from fit.holdout import leave_one_model_out
from fit.measure import quantile, summary
from fit.predict import spec_of
from fit.records import UNTOLD, version_of
from fit.split import split
from fit_files import CARDS, FACTS, GIB, SAID, measured, record

from manta_operator.facts import catalog
from manta_operator.facts.accelerators import catalog as accelerators
from manta_operator.facts.models import from_config


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"vllm_version": "0.11.2+rhai1"}, (0, 11)),
        ({"vllm_version": "v0.26.1rc1.dev608"}, (0, 26)),
        ({"vllm_version": "0.6.x (V0)"}, (0, 6)),
        ({"vllm_version": "Jul-2025 (0.9/0.10)"}, (0, 9)),
        ({"vllm_version": "nightly Jan-2026"}, (0, 14)),
        ({"vllm_version": "V0"}, (0, 7)),
        ({"engine": "V0"}, (0, 7)),
        ({"notes": "late 2025 (version not stated, ~0.11-0.12)"}, (0, 11)),
        ({"gpu_memory_utilization": 0.9, "util_explicit": False}, (0, 19)),
        ({}, UNTOLD),
        ({"vllm_version": 7, "notes": 3, "engine": []}, UNTOLD),
    ],
)
def test_the_version_of_a_record(said, expected):
    assert version_of(said) == expected


@pytest.mark.parametrize(
    ("name", "gib", "capability"),
    [
        ("H100-80", 79.18, 90),
        ("H100-80 (79.18 GiB)", 79.18, 90),
        ("H100-80 SXM", 79.18, 90),
        ("NVIDIA H100 80GB HBM3", 79.18, 90),
        ("A100-SXM4-40GB", 39.49, 80),
        ("A100-80", 79.32, 80),
        ("B200", 178.35, 100),
        ("RTX PRO 6000 Blackwell Max-Q 96GB", 94.97, 120),
        ("RTX 5070 Ti (16303 MiB) + H100-80", 16303 / 1024 * 0.987, 120),
        ("RTX 3050 6GB", 6 * 0.97, 86),
        ("8xH100", 79.18, 90),
        ("8x NVIDIA H100 80GB HBM3", 79.18, 90),
        ("A100-40 x4", 39.49, 80),
        ("NVIDIA H100 NVL", accelerators()["nvidia-h100-nvl"].memory_bytes / GIB, 90),
        ("NVIDIA RTX 6000 Ada Generation 48GB", 48 * 0.97, 89),
        ("CMP 170HX 64GB (sm80, 65536 MiB)", 64 * 0.987, 80),
    ],
)
def test_a_gpu_by_any_of_its_names(tmp_path, name, gib, capability):
    found = gpus.find(record(tmp_path, gpu=name), CARDS)
    assert not isinstance(found, str), found
    assert (found.memory_bytes or 0) / GIB == pytest.approx(gib)
    assert found.capability == capability


@pytest.mark.parametrize("name", [None, "A100 (size not stated)", "Graphics card"])
def test_a_gpu_that_nobody_knows_is_said_so(tmp_path, name):
    assert isinstance(gpus.find(record(tmp_path, gpu=name), CARDS), str)


def test_the_total_that_a_record_says_wins_and_amd_is_amd(tmp_path):
    assert gpus.find(record(tmp_path, gpu_total_gib=77.5), CARDS).memory_bytes == int(77.5 * GIB)
    found = gpus.find(record(tmp_path, gpu="MI300X", gpu_total_gib=191.98), CARDS)
    assert (found.is_rocm, found.capability) == (True, None)


@pytest.mark.parametrize(
    ("pattern", "kinds"),
    [
        (
            "12 full-attention / 36 gated-delta-net layers (full every 4th)",
            ["linear_attention"] * 3 + ["full_attention"],
        ),
        ("3 chunked-local (8192) : 1 full (NoPE)", ["chunked_attention"] * 3 + ["full_attention"]),
        ("5 sliding : 1 global", ["sliding_attention"] * 4),
        ("3:1 sliding(512)/full", ["sliding_attention"] * 3 + ["full_attention"]),
        ("2 full / 2 Mamba-2 layers", ["mamba", "full_attention"] * 2),
        ("2 sliding (1024) / 2 full", ["sliding_attention", "full_attention"] * 2),
        ("alternating full/sliding(128)", ["full_attention", "sliding_attention"] * 2),
        ("GDN, every 2nd layer is full", ["linear_attention", "full_attention"] * 2),
        ("alternating sliding(128)/full", ["sliding_attention", "full_attention"] * 2),
    ],
)
def test_layers_that_are_described_in_prose(tmp_path, pattern, kinds):
    config = models.config_of(record(tmp_path), FACTS | {"layer_pattern": pattern, "num_hidden_layers": 4})
    assert config["layer_types"] == kinds


def test_prose_that_no_rule_reads_is_not_counted(tmp_path):
    facts = models.find(record(tmp_path), {SAID["model"]: {"facts": FACTS | {"layer_pattern": "24 MLA / 69 KDA"}}})
    assert not isinstance(facts, str)
    assert facts.unmodelled == "layers of 24 MLA / 69 KDA"


def test_a_model_of_the_catalog_is_taken_from_there_where_the_file_does_not_contradict(tmp_path):
    asked = record(tmp_path, model="someone/Llama-3.1-8B-Instruct-FP8", quantization="fp8")
    found, other = models.find(asked, {}), models.find(asked, {asked.model: {"facts": FACTS | {"hidden_size": 8192}}})
    assert not isinstance(found, str)
    assert not isinstance(other, str)
    assert (found.layers, found.quantization, other.hidden_size) == (32, "fp8", 8192)
    assert models.find(record(tmp_path, model="org/nobody-knows"), {}) == "nothing is known of org/nobody-knows"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Qwen/Qwen3-8B", {"num_key_value_heads": 32}),
        ("Qwen/Qwen3-8B", {"head_dim": 256}),
        ("Qwen/Qwen3-8B", {"tie_word_embeddings": True}),
        ("Qwen/Qwen2.5-14B", {"head_dim": 64}),
        ("Qwen/Qwen3-30B-A3B", {"moe_intermediate_size": 999}),
        ("deepseek-ai/DeepSeek-R1-0528", {"num_experts": 7}),
        ("deepseek-ai/DeepSeek-R1-0528", {"n_shared_experts": 3}),
        ("deepseek-ai/DeepSeek-R1-0528", {"kv_lora_rank": 64}),
    ],
)
def test_the_catalog_is_not_taken_where_any_number_of_the_file_differs(tmp_path, name, change):
    asked, entry = record(tmp_path, model=name), catalog.entries()[name].config
    agreed, differing = {name: {"facts": entry}}, {name: {"facts": dict(entry) | change}}
    assert models.find(asked, agreed) == from_config(entry)
    assert models.find(asked, differing) == models.find(asked, differing, with_catalog=False)
    assert models.find(asked, differing) != from_config(entry)


def test_the_length_that_the_file_says_is_the_models(tmp_path):
    asked = record(tmp_path, model="Qwen/Qwen3-8B")
    found = models.find(asked, {asked.model: {"facts": {"max_position_embeddings": 12_345}}})
    assert not isinstance(found, str)
    assert (found.layers, found.max_positions) == (36, 12_345)


def test_the_catalog_can_be_left_out(tmp_path):
    asked = record(tmp_path, model="Qwen/Qwen3-8B")
    assert not isinstance(models.find(asked, {}), str)
    assert models.find(asked, {}, with_catalog=False) == "nothing is known of Qwen/Qwen3-8B"


@pytest.mark.parametrize("name", ["Qwen/Qwen3.5-9B", "Qwen/Qwen3.5-35B-A3B", "google/gemma-3-27b-it"])
def test_what_a_file_leaves_out_of_a_family_weighs_what_it_does_in_the_catalog(tmp_path, name):
    asked, text = record(tmp_path, model=name), catalog.entries()[name].config["text_config"]
    left_out = ("mtp_num_hidden_layers", "quantization_config", "model_type")
    said = {key: value for key, value in text.items() if key not in left_out}
    said["tie_word_embeddings"] = bool(catalog.entries()[name].config.get("tie_word_embeddings", "gemma" in name))
    known = {name: {"facts": said}}
    whole, bare = models.find(asked, known), models.find(asked, known, with_catalog=False)
    assert not isinstance(whole, str)
    assert not isinstance(bare, str)
    assert whole.anatomy is not None
    assert bare.anatomy is not None
    assert visual(bare) == visual(whole) > 0
    assert bool(bare.anatomy.guesses) == bool(whole.anatomy.guesses)


def visual(facts):
    return sum(each.rows * each.columns * each.count for each in facts.anatomy.outside if "visual" in each.name)


def test_notes_say_what_a_spec_says(tmp_path):
    notes = (
        "prefix caching off; enable_expert_parallel; MTP num_speculative_tokens=3; language-model-only; "
        "block-size 128; LoRA on: max_loras=2, max_lora_rank=16"
    )
    engine = spec_of(record(tmp_path, notes=notes, gpu_memory_utilization=0.925)).engine
    assert (engine.prefix_caching, engine.args) == (False, ("--language-model-only", "--block-size=128"))
    assert engine.speculative is not None
    assert engine.lora is not None
    assert (engine.speculative.tokens, engine.lora.max_loaded, engine.gpu_memory_utilization) == (3, 2, 92)


def test_a_plain_model_is_compared_by_tokens(tmp_path):
    row = measured(tmp_path)
    assert (row.kv_compared, row.fits, row.fits_logged) == ("tokens", True, True)
    assert row.weights_err == pytest.approx(0, abs=0.01)
    assert row.request_err == pytest.approx(0, abs=0.001)
    assert row.overhead_implied == pytest.approx(0.9 * 79.18 - 14.99 - 53.5)
    assert abs(row.kv_err or 1) < 0.02


def test_tokens_of_hybrids_are_compared_only_where_they_mean_the_same(tmp_path):
    windows = FACTS | {"layer_pattern": "alternating sliding(128)/full", "sliding_window": 128}
    old = measured(tmp_path, windows)
    assert (old.kv_compared, old.kv_logged) == ("requests", 53.5 * 8192)
    assert measured(tmp_path, windows, vllm_version="0.22").kv_compared == "tokens"
    assert measured(tmp_path, windows, max_concurrency=None).kv_compared == "GiB"
    assert measured(tmp_path, windows, max_concurrency=None, kv_cache_gib_per_gpu=None).kv_err is None


def test_no_room_where_there_was_some_is_an_error_of_all_of_it(tmp_path):
    row = measured(tmp_path, gpu_memory_utilization=0.1)
    assert (row.kv, row.kv_err, row.fits) == (0.0, -1.0, False)


def test_a_failed_start_is_a_decision(tmp_path):
    failed = {"max_model_len": 131_072, "gpu_memory_utilization": 0.25, "kv_cache_tokens": None, "oom": True}
    row = measured(tmp_path, **failed, failure="kv_too_small_for_max_len")
    assert (row.fits, row.fits_logged) == (False, False)
    assert summary([row])["decision_accuracy"] == 1.0
    assert summary([replace(row, fits=True)])["wrong_decisions"] == ["one"]


def test_constants_are_held_out_by_model(tmp_path):
    rows = [replace(measured(tmp_path), model=name, overhead_implied=2.0 + number) for number, name in enumerate("abc")]
    found = leave_one_model_out(rows)
    assert (found["models"], found["records"]) == (3, 3)
    assert found["held_out_err_gib_median"] == pytest.approx(1.5)


def test_quantiles():
    assert (quantile([], 0.5), quantile([3.0], 0.9)) == (None, 3.0)
    assert quantile([float(number) for number in range(101)], 0.9) == pytest.approx(90)


def test_the_error_is_told_by_model_kind_and_version(tmp_path):
    row = measured(tmp_path)
    rows = [replace(row, kv_err=error, model=model, kind=kind, version=version) for error, model, kind, version in (
        (0.1, "a", "9.0", "0.11"), (-0.3, "a", "9.0", "0.24"), (0.2, "a", "9.0", "0.9"), (0.6, "b", "12.0", "1.0"),
    )]  # fmt: skip
    found = split([*rows, replace(row, kv_err=None, model="c", kind="ROCm")])
    assert found["by_model"]["count"] == 2
    assert found["by_model"]["kv_err_median"] == pytest.approx(0.4)
    assert list(found["by_kind"]) == ["9.0", "12.0"]
    assert found["by_kind"]["9.0"]["kv_err_median"] == pytest.approx(0.2)
    assert found["by_version"]["since 0.24"]["kv_err_median"] == pytest.approx(0.45)
