"""Quantized and sparse checkpoints of tools/checkpoints.py on real vLLM: what ran, and what it cost in quality."""

from dataclasses import asdict, dataclass

import aiohttp
import pytest
from one_engine import is_serving, running_engine
from quantized import (
    WITHOUT_AVX512,
    body,
    checkpoint,
    facts,
    has_avx512,
    quality,
    remember,
    remove,
    serve,
    status_text,
    until,
)
from running import chat_with, only_all, wait_ready

from manta_operator.api import names
from manta_operator.cli.watch import take
from manta_runtime.engine.log_lines import read_line
from manta_runtime.engine.vllm_words import Facts, learn

LINEAR_LAYERS = 4 * 4
"""Of the tiny model, as vLLM merges them: query, key and value in one, gate and up in one."""
OF_EXPERTS = "int8_per_channel_weight_only"
QUESTION = "What is a manta ray?"


@dataclass(frozen=True)
class Case:
    """A checkpoint, what /facts must say of it, and how far it may be from bf16: its tokens in nats, its perplexity."""

    method: str
    quantization: str
    kernel: str | None
    drift: float
    perplexity: float = 0.03
    avx512: bool = False


INT8 = Case("int8", "compressed-tensors", "CPUInt8ScaledMMLinearKernel", 0.05)
CASES = (
    Case("w4a8", "compressed-tensors", "Dynamic4bitLinearKernel", 0.2),
    Case("fp8", "compressed-tensors", "ChannelWiseTorchFP8ScaledMMLinearKernel", 0.1),
    Case("int8-gptq", "compressed-tensors", "CPUInt8ScaledMMLinearKernel", 0.05),
    Case("sparse", "none", None, 1.0, perplexity=0.15),
    Case("sparse-wanda", "none", None, 1.0, perplexity=0.15),
    Case("gptq", "compressed-tensors", "CPUWNA16LinearKernel", 0.2, avx512=True),
    Case("awq", "compressed-tensors", "CPUWNA16LinearKernel", 0.2, avx512=True),
    Case("gptq-format", "auto_gptq", "CPUWNA16LinearKernel", 0.2, avx512=True),
    Case("awq-format", "awq", "CPUWNA16LinearKernel", 0.2, avx512=True),
)
ALL = [
    pytest.param(INT8, id=INT8.method),
    *(pytest.param(case, id=case.method, marks=only_all) for case in CASES),
]


@pytest.mark.parametrize("case", ALL)
async def test_a_checkpoint_is_served_as_what_it_is(box, client, case):
    folder = checkpoint(case.method)
    if case.avx512 and not has_avx512():
        pytest.skip("vLLM's kernel for 4-bit weights with 16-bit activations (cpu_gemm_wna16) needs AVX-512")
    name = f"quantized-{case.method}"
    await wait_ready(box, client, "tiny", 2)
    try:
        seconds = await serve(box, client, body(name, folder.name))
        async with await chat_with(client, name) as chat:
            answer = await chat.plain(QUESTION)
        told, found = await facts(client, name), await quality(client, name)
        live = await client.get(names.API_VERSION, names.KIND, "default", name)
    finally:
        await remove(client, name)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    speed = {"ready": seconds, "tokens_per_second": answer.tokens / answer.seconds}
    remember(case.method, **asdict(found), bytes=size, **speed, answer=answer.text, facts=told)
    assert answer.tokens > 10
    assert told["quantization"] == case.quantization
    kernels = told["quantizationKernels"] or []
    assert all(case.kernel is not None and each.startswith(case.kernel) for each in kernels)
    assert bool(kernels) == bool(case.kernel)
    assert found.drift < case.drift
    assert abs(found.perplexity / found.of_bf16 - 1) < case.perplexity
    assert live["status"]["fit"]["predicted"]["kvCacheTokens"] == told["kvCacheTokens"]
    assert live["status"]["fit"]["fits"] == "True"


@only_all
async def test_weights_are_quantized_while_they_are_loaded(box, client):
    name = "online-fp8"
    try:
        await serve(box, client, body(name, "tiny", quantization="fp8_per_channel"))
        told, found = await facts(client, name), await quality(client, name)
    finally:
        await remove(client, name)
    remember(name, **asdict(found), facts=told)
    assert told["quantization"] == "fp8_per_channel"
    assert told["quantizedLayers"] == LINEAR_LAYERS
    assert found.drift < 0.1
    assert abs(found.perplexity / found.of_bf16 - 1) < 0.03


@only_all
async def test_a_quantization_of_nothing_is_refused_before_a_pod_starts(box, client):
    name = "online-int8"
    await client.apply(body(name, "tiny", quantization=OF_EXPERTS), manager="manta-cli")
    try:
        view = await until(client, name, lambda view: view.reason == "InvalidSpec")
        pods = [pod for pod in (await take(client)).pods.values() if pod.deployment == name]
    finally:
        await remove(client, name)
    assert "nothing would be quantized" in view.message
    assert not pods


@only_all
async def test_a_quantization_in_name_only_is_told(tmp_path):
    """What the refusal above goes by: the engine starts and serves, and no layer is quantized."""
    log, address = tmp_path / "engine.log", "127.1.9.80"
    asked = running_engine(tmp_path, address, "--quantization", OF_EXPERTS)
    async with aiohttp.ClientSession() as session, asked as engine:
        assert await is_serving(session, engine, address), log.read_text()[-3000:]
    told = Facts()
    for line in log.read_text(errors="replace").splitlines():
        told = learn(told, read_line(line))
    assert (told.quantization, told.quantized_layers, told.quantization_kernels) == (OF_EXPERTS, 0, ())


@only_all
@pytest.mark.parametrize(
    ("method", "env", "cause"),
    [("w8a16", (), "vLLM has no kernel"), ("gptq", WITHOUT_AVX512, "this CPU has no AVX-512")],
)
async def test_why_a_checkpoint_cannot_run_here_is_said(box, client, method, env, cause):
    name = f"refused-{method}"
    await client.apply(body(name, checkpoint(method).name, env=env), manager="manta-cli")
    try:
        view = await until(client, name, lambda view: cause in view.message)
        shown = [status_text(box, name) for _ in range(5)]  # between two attempts the pod may be at its next one
    finally:
        await remove(client, name)
    assert not view.is_ready
    assert any(cause in " ".join(each.split()) for each in shown), shown[-1]
