"""A start-up, its model and its GPU as files of `make bench-fit` say them, and what becomes of them."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from fit import gpus, models
from fit.main import main
from fit.measure import Row, measure
from fit.predict import predict
from fit.records import Record, read

GIB = 2**30
CARDS: dict[str, Any] = {
    "_about": "words",
    "H100-80": {"vllm_total_gib": [79.18, 79.19]},
    "A100-80": {"vllm_total_gib": [79.32]},
    "A100-40": {"vllm_total_gib": [39.49]},
    "B200": {"vllm_total_gib": None, "from_memory": {"vllm_total_gib": 178.35}},
    "RTX 5070 Ti": {"nvidia_smi_mib": 16303},
    "RTX PRO 6000 Blackwell 96GB": {"vllm_total_gib": [94.97]},
}
SAID: dict[str, Any] = {
    "id": "one",
    "model": "org/Llama-9-8B",
    "gpu": "H100-80",
    "vllm_version": "0.18.0+rhai",
    "tp": 1,
    "max_model_len": 8192,
    "gpu_memory_utilization": 0.9,
    "weights_gib_per_gpu": 14.99,
    "kv_cache_gib_per_gpu": 53.5,
    "kv_cache_tokens": 438_272,
    "max_concurrency": 53.5,
    "oom": False,
}
FACTS: dict[str, Any] = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14_336,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
}


def record(tmp_path: Path, **change: Any) -> Record:
    """Read SAID with changes, as a line of a file."""
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(SAID | change) + "\n\n")
    [found] = read(path)
    return found


def bench(
    tmp_path: Path, records: list[dict[str, Any]], known: dict[str, Any], cards: dict[str, Any] = CARDS
) -> tuple[dict[str, Any], str]:
    """Run the benchmark on these; its figures and what it printed."""
    lines = [json.dumps(each) for each in records]
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    (tmp_path / "models.json").write_text(json.dumps(known))
    (tmp_path / "gpus.json").write_text(json.dumps(cards))
    arguments = [f"--{name}={tmp_path / file}" for name, file in (
        ("records", "records.jsonl"), ("models", "models.json"), ("gpus", "gpus.json"), ("out", "fit.json"),
    )]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return json.loads((tmp_path / "fit.json").read_text()), result.output


def measured(tmp_path: Path, facts: dict[str, Any] = FACTS, **change: Any) -> Row:
    """Return the row of SAID with changes."""
    asked = record(tmp_path, **change)
    known, on = models.find(asked, {SAID["model"]: {"facts": facts}}), gpus.find(asked, CARDS)
    assert not isinstance(known, str)
    assert not isinstance(on, str)
    return measure(predict(asked, known, on), on)
