"""What the planner predicts beside what real vLLM says of itself, for tiny models on this CPU.

Models of other kinds than the tiny one are made of its tokenizer and a configuration: vLLM fills them with numbers.
The engine is ended as soon as it has told the size of its KV cache.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from make import deployment
from one_engine import ENVIRON
from running import MODELS, only_all

from manta_operator.box.kubelet import shim
from manta_operator.facts.models import read
from manta_operator.planning.choice import Choice
from manta_operator.planning.fit import accelerator_of, judge
from manta_operator.planning.search import decide

SAID = re.compile(r"KV cache size: ([\d,]+) tokens.* for ([\d,]+) tokens per request: ([\d.]+)x")


@dataclass(frozen=True)
class Case:
    """Fields of spec.engine, and the width of a replica; changes of the tiny model's config.json."""

    engine: dict[str, Any]
    tensor: int = 1
    config: dict[str, Any] = field(default_factory=dict)


WINDOWS = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "num_hidden_layers": 8,
    "max_position_embeddings": 8192,
    "sliding_window": 256,
    "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 2,
    "query_pre_attn_scalar": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "rope_parameters": {
        "full_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
    },
}
CASES = {
    "float32": Case({"dtype": "float32", "maxModelLen": 1024, "kvCacheMemory": "64Mi"}),
    "shorter": Case({"dtype": "bfloat16", "maxModelLen": 500, "kvCacheMemory": "96Mi"}),
    "two ranks": Case({"dtype": "bfloat16", "maxModelLen": 1024, "kvCacheMemory": "64Mi"}, tensor=2),
    "windows": Case({"dtype": "bfloat16", "maxModelLen": 4096, "kvCacheMemory": "64Mi"}, config=WINDOWS),
    "windows, short steps": Case(
        {"dtype": "float32", "maxModelLen": 2048, "maxNumBatchedTokens": 512, "kvCacheMemory": "96Mi"}, config=WINDOWS
    ),
}
PARAMETERS = [
    pytest.param(Case({"dtype": "bfloat16", "maxModelLen": 1024, "kvCacheMemory": "64Mi"}), id="bfloat16"),
    *(pytest.param(case, id=name, marks=only_all) for name, case in CASES.items()),
]


def model(folder: Path, config: dict[str, Any]) -> Path:
    """The tiny model, or one of another kind without weights."""
    if not config:
        return MODELS / "tiny"
    made = folder / "model"
    made.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(MODELS / "tiny" / file, made / file)
    tiny = json.loads((MODELS / "tiny" / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(tiny | config))
    return made


def command(case: Case, checkpoint: Path) -> list[str]:
    engine = case.engine
    size = int(engine["kvCacheMemory"].removesuffix("Mi")) * 2**20
    found = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", "--host=127.1.97.1"]
    found += [f"--model={checkpoint}", f"--dtype={engine['dtype']}", f"--max-model-len={engine['maxModelLen']}"]
    found += [f"--kv-cache-memory-bytes={size}", "--load-format=dummy"]
    if case.tensor == 1:
        found.append("--distributed-executor-backend=uni")
    else:
        found += [f"--tensor-parallel-size={case.tensor}", "--distributed-executor-backend=mp"]
    if step := engine.get("maxNumBatchedTokens"):
        found.append(f"--max-num-batched-tokens={step}")
    return found


def told(command: list[str], folder: Path) -> tuple[int, float]:
    """Start an engine, and end it once it has said what it holds: tokens, and requests of the longest length."""
    # The box's parent of containers: nothing of the engine outlives this process, however that ends.
    kept = [sys.executable, "-I", "-S", str(shim.__file__), "--", *command]
    heard: list[str] = []
    with subprocess.Popen(
        kept,
        cwd=folder,
        env=os.environ | ENVIRON,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as engine:
        assert engine.stdin is not None
        assert engine.stdout is not None
        for line in engine.stdout:
            heard.append(line.decode(errors="replace"))
            if said := SAID.search(heard[-1]):
                engine.stdin.close()
                return int(said.group(1).replace(",", "")), float(said.group(3))
    raise AssertionError("".join(heard[-60:]))


@pytest.mark.parametrize("case", PARAMETERS)
def test_the_engine_holds_what_was_predicted(case: Case, tmp_path: Path) -> None:
    checkpoint = model(tmp_path, case.config)
    facts = read(checkpoint)
    assert facts is not None
    spec = deployment(
        engine=case.engine | {"enforceEager": True}, accelerator={"type": "cpu"}, parallelism={"tensor": case.tensor}
    ).spec
    # Of a model without files the weights cannot be counted by their headers; its caches can.
    choice = decide(spec, facts)
    assert isinstance(choice, Choice), choice
    fit = judge(spec, choice.shape, accelerator_of(spec), facts)
    assert fit.fits == "True", fit.message
    tokens, requests = told(command(case, checkpoint), tmp_path)
    assert fit.kv_cache_tokens == pytest.approx(tokens, abs=1)
    assert fit.concurrency == pytest.approx(requests, abs=0.006)
