"""What vLLM 0.32 says of itself, line by line as it was printed, and that other words do no harm."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_runtime.engine.log_lines import read_line
from manta_runtime.engine.vllm_words import _PHASES, Facts, cause_of, facts_json, learn, listens, phase_of

CONFIG = (
    "(EngineCore pid=9) INFO 11-21 14:06:37 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
    "model='/models/quantization=fake, dtype=float8', speculative_config=None, tokenizer='/m', seed=0, "
    "dtype=torch.bfloat16, max_seq_len=8192, download_dir=None, load_format=auto, tensor_parallel_size=1, "
    "quantization=compressed-tensors, quantization_config=None, enforce_eager=False, "
    "aux_output_config=AuxOutputConfig(max_bytes=None), kv_cache_dtype=fp8_e4m3, device_config=cuda, seed=0, "
    "compilation_config={'mode': <CompilationMode.NONE: 0>, 'quantization': 'x'}"
)
BEFORE = "(EngineCore pid=9) INFO 11-21 14:06:38 "


def facts_of(*lines: str) -> Facts:
    facts = Facts()
    for line in lines:
        facts = learn(facts, read_line(line))
    return facts


def test_the_config_it_works_with():
    facts = facts_of(CONFIG)
    assert facts == Facts(
        version="0.32.0",
        dtype="bfloat16",
        max_model_len=8192,
        quantization="compressed-tensors",
        kv_cache_dtype="fp8_e4m3",
        enforce_eager=False,
        speculative="none",
    )


@pytest.mark.parametrize(
    ("said", "key", "value"),
    [
        ("[cuda.py:507] Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN', 'TRITON_ATTN'].",
         "attentionBackend", "FLASH_ATTN"),
        ("[cuda.py:446] Using AttentionBackendEnum.FLASHINFER backend.", "attentionBackend", "FLASHINFER"),
        ("[cpu.py:175] Using CPU_MLA backend.", "attentionBackend", "CPU_MLA"),
        ("[fp8.py:9] Using DEEPGEMM backend.", "attentionBackend", None),
        ("[cpu.py:184] Cannot use AttentionBackendEnum.FLASH_ATTN backend on CPU.", "attentionBackend", None),
        ("[cpu.py:184] Cannot use AttentionBackendEnum.FLASH_ATTN backend on CPU.",
         "attentionBackendRefused", "FLASH_ATTN"),
        ("[__init__.py:847] Selected CutlassInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8",
         "quantizationKernels", ["CutlassInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8"]),
        ("[__init__.py:923] Using MarlinLinearKernel for mixed-precision linear",
         "quantizationKernels", ["MarlinLinearKernel for mixed-precision linear"]),
        ("[base_loader.py:151] Quantizing 16 layers of types: mlp.down_proj: 4 (from linear: fp8_per_channel)",
         "quantizedLayers", 16),
        ("[base_loader.py:151] Quantizing 0 layers of types: ", "quantizedLayers", 0),
        ("[kv_cache_utils.py:2327] GPU KV cache size: 65,536 tokens, Maximum concurrency for 1,024 tokens per "
         "request: 64.00x", "kvCacheTokens", 65536),
        ("[kv_cache_utils.py:2327] GPU KV cache size: 65,536 tokens, Maximum concurrency for 1,024 tokens per "
         "request: 64.00x", "maxConcurrency", 64.0),
        ("[kv_cache_utils.py:1] GPU KV cache size: 70 tokens", "kvCacheTokens", 70),
        ("[gpu_worker.py:760] Available KV cache memory: 54.21 GiB", "kvCacheGiB", 54.21),
        ("[gpu_model_runner.py:5150] Model loading took 14.99 GiB memory and 3.456789 seconds", "modelGiB", 14.99),
        ("[gpu_model_runner.py:5150] Model loading took 14.99 GiB memory and 3.456789 seconds",
         "seconds", {"model": 3.456789}),
        ("[default_loader.py:501] Loading weights took 0.05 seconds", "seconds", {"weights": 0.05}),
        ("[monitor.py:62] torch.compile took 21.50 s in total", "seconds", {"compile": 21.5}),
        ("[gpu_model_runner.py:6582] Graph capturing finished in 12 secs, took 0.61 GiB", "seconds", {"graphs": 12.0}),
        ("[gpu_model_runner.py:6582] Graph capturing finished in 12 secs, took 0.61 GiB", "graphsGiB", 0.61),
        ("[gpu_model_runner.py:6582] Graph capturing finished in 12 secs, took -1.20 GiB", "graphsGiB", None),
        ("[cpu_worker.py:260] Explicitly set (0.06/23.47) GiB for KV cache on node 0.", "kvCacheGiB", 0.06),
        ("[cpu_worker.py:260] Auto set (9.5/23.47) GiB for KV cache on node 0, with 11.2 GiB requested memory for the "
         "worker. 1.7 GiB memory was consumed by non-kv usages.", "kvCacheGiB", 9.5),
        ("[core.py:395] init engine (profile, create kv cache, warmup model) took 33.05 s (compilation: 21.50 s)",
         "seconds", {"init": 33.05, "compile": 21.5}),
        ("[core.py:403] init engine (profile, create kv cache, warmup model) took 0.07 s", "seconds", {"init": 0.07}),
    ],
)  # fmt: skip
def test_what_it_has_chosen_and_measured(said, key, value):
    assert facts_json(facts_of(BEFORE + said))[key] == value


def test_nothing_is_known_until_it_is_said():
    assert set(map(str, facts_json(Facts()).values())) == {"None", "{}"}


def test_no_quantization_is_a_fact_too():
    assert facts_of(CONFIG.replace("quantization=compressed-tensors", "quantization=None")).quantization == "none"


def test_of_several_ranks_the_fullest_counts():
    lines = [f"{BEFORE}[gpu_worker.py:760] Available KV cache memory: {each} GiB" for each in ("2.5", "1.5", "3.0")]
    lines += [f"{BEFORE}[gpu.py:1] Model loading took {each} GiB memory and 1.0 seconds" for each in ("5.0", "7.5")]
    facts = facts_of(*lines)
    assert (facts.kv_cache_gib, facts.model_gib) == (1.5, 7.5)


def test_of_several_ranks_the_slowest_counts():
    lines = [f"{BEFORE}[default_loader.py:501] Loading weights took {each} seconds" for each in ("2.5", "3.5", "1.0")]
    assert facts_of(*lines).seconds == {"weights": 3.5}


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ("[gpu_model_runner.py:5040] Starting to load model /m...", "load"),
        ("[gpu_model_runner.py:5150] Model loading took 14.99 GiB memory and 3.4 seconds", "warmup"),
        ("[monitor.py:40] Starting torch.compile", "compile"),
        ("[monitor.py:62] torch.compile took 21.50 s in total", "warmup"),
        ("[core.py:403] init engine (profile, create kv cache, warmup model) took 0.07 s", "first-token"),
        ("[loggers.py:335] Engine 000: Avg prompt throughput: 0.2 tokens/s", None),
    ],
)
def test_the_phase_that_begins(said, phase):
    assert phase_of(read_line(BEFORE + said)) == phase


def test_it_says_when_it_listens():
    assert listens(read_line("INFO:     Application startup complete."))
    assert not listens(read_line("INFO:     Waiting for application startup."))


@pytest.mark.parametrize(
    ("words", "method", "tokens"),
    [
        ("None", "none", None),
        ("SpeculativeConfig(method='ngram', model=None, num_spec_tokens=3)", "ngram", 3),
        ("SpeculativeConfig(method='draft_model', model='/mnt/draft, x=1', num_spec_tokens=5)", "draft_model", 5),
        ("Something(else)", None, None),
    ],
)
def test_what_guesses(words, method, tokens):
    line = read_line(CONFIG.replace("speculative_config=None", f"speculative_config={words}"))
    facts = learn(Facts(), line)
    assert (facts.speculative, facts.speculative_tokens) == (method, tokens)
    assert facts.quantization == "compressed-tensors", "what stands behind it is still read"


@given(st.text())
def test_other_words_teach_nothing_and_never_fail(text):
    for words in ("", "Model loading took ", "KV cache size: ", "Using ", "LLM engine (v", "init engine ("):
        learn(Facts(), read_line(words + text))


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_the_installed_vllm_still_says_so():
    # Found without importing it, which takes seconds.
    root = Path(importlib.util.find_spec("vllm").submodule_search_locations[0])
    files = [
        *root.glob("v1/**/*.py"), *root.glob("compilation/*.py"), *root.glob("platforms/*.py"),
        *root.glob("model_executor/model_loader/*.py"), *root.glob("model_executor/kernels/linear/*.py"),
    ]  # fmt: skip
    sources = "\n".join(file.read_text() for file in files)
    words = [each for each, _ in _PHASES] + ["Cannot use %s backend on CPU", "Selected %s for %s", "GiB memory and"]
    words += ["Loading weights took", "Available KV cache memory", "Graph capturing finished in", "LLM engine (v%s)"]
    words += ["secs, took %.2f GiB", "Explicitly set (", "Auto set (", "GiB for KV cache "]
    assert [each for each in words if each not in sources] == []


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "(EngineCore pid=9) ERROR 11-21 16:55:08 [multiproc_executor.py:315] Worker proc VllmWorker-0 died "
            "unexpectedly (exit code: -11), shutting down executor.",
            "VllmWorker-0 ended with -11",
        ),
        (
            "(EngineCore pid=9) ERROR 11-21 16:55:08 [ray_executor_v2.py:522] RayWorkerProc rank=[1] died "
            "unexpectedly, shutting down executor.",
            "RayWorkerProc of vLLM's rank 1 ended",
        ),
        (
            "(APIServer pid=7) INFO 11-21 16:55:08 [logger.py:40] Received request x: prompt: "
            "'Worker proc a died unexpectedly (exit code: 1)'",
            "",
        ),
        ("resource_tracker: process died unexpectedly, relaunching.", ""),
    ],
)
def test_which_rank_died_first(line, cause):
    assert cause_of(read_line(line)) == cause


def test_its_words_for_a_rank_that_died_are_in_its_source():
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        pytest.skip("vLLM is not installed")
    executors = Path(spec.origin).parent / "v1" / "executor"
    assert '"RayWorkerProc rank=%s died unexpectedly' in (executors / "ray_executor_v2.py").read_text()
    assert '"Worker proc %s died unexpectedly (exit code: %s), ' in (executors / "multiproc_executor.py").read_text()
