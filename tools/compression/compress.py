"""Turns one checkpoint into a smaller one by a method: `python -m compression.compress SOURCE FOLDER KEY METHOD …`.

Runs in the environment of llm-compressor (build/compressor), whose compressed-tensors is not vLLM's; `checkpoints.py`
starts it. `compress` knows nothing of tests and tiny models: a checkpoint, a method and texts in, a checkpoint out.
"""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.pruning.sparsegpt import SparseGPTModifier
from llmcompressor.modifiers.pruning.wanda import WandaPruningModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from transformers import AutoModelForCausalLM, AutoTokenizer

from compression.methods import Method, by_name
from compression.proof import prove
from compression.texts import calibration
from tiny_model import whole_or_nothing
from tinylm.corpus import read_corpus

STAMP = "manta-checkpoint.json"
TEXT_TOKENS = 256
MODIFIERS = {
    each.__name__: each
    for each in (
        AWQModifier,
        GPTQModifier,
        QuantizationModifier,
        SmoothQuantModifier,
        SparseGPTModifier,
        WandaPruningModifier,
    )
}
Messages = list[dict[str, str]]


def compress(source: Path, out: Path, method: Method, texts: Sequence[Messages]) -> None:
    """Write the checkpoint in `source`, made smaller, into the empty folder `out`; the tokenizer is copied as it is.

    Raises:
        NotDone: the method ran, and left layers as they were.
    """
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    if method.auto_round:
        _auto_round(model, tokenizer, method.auto_round, out)
    else:
        if not torch.accelerator.is_available():
            # It pins what it keeps between two layers, also where there is no accelerator to copy it to, and fails.
            IntermediatesCache.pin_memory = lambda *_, **__: None
        steps = [MODIFIERS[name](**arguments) for name, arguments in method.steps]
        oneshot(model=model, recipe=steps, **_calibrated(tokenizer, texts))
        model.save_pretrained(out, save_compressed=True)
    for path in source.iterdir():
        if path.name.startswith(("tokenizer", "chat_template", "generation_config")):
            shutil.copy2(path, out)
    for path in out.glob("*.safetensors"):
        path.chmod(0o644)  # pods may run as another user
    prove(out, method.stored)


def _calibrated(tokenizer: Any, texts: Sequence[Messages]) -> dict[str, Any]:
    if not texts:
        return {}
    rows = [
        tokenizer(
            tokenizer.apply_chat_template(text, tokenize=False),
            add_special_tokens=False,
            truncation=True,
            max_length=TEXT_TOKENS,
        )["input_ids"]
        for text in texts
    ]
    rows_of = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    return {
        "dataset": Dataset.from_dict(rows_of),
        "num_calibration_samples": len(rows),
        "max_seq_length": TEXT_TOKENS,
        "shuffle_calibration_samples": False,
    }


def _auto_round(model: Any, tokenizer: Any, into: str, out: Path) -> None:
    # It takes over logging and the command line's look as soon as it is imported: only where it is asked for.
    from auto_round import AutoRound  # noqa: PLC0415

    made = AutoRound(model, tokenizer, scheme="W4A16", iters=0, disable_opt_rtn=True)
    made.quantize_and_save(str(out / "made"), format=into)
    for path in [each for each in (out / "made").rglob("*") if each.is_file()]:  # in a folder of a name of its own
        path.rename(out / path.name)
    shutil.rmtree(out / "made")


def main(source: Path, folder: Path, key: str, names: Sequence[str]) -> None:
    """Make each checkpoint whole or not at all, with a stamp of what it was made from and how long that took."""
    corpus = read_corpus(Path(__file__).parents[1] / "tinylm/corpus.txt")
    for method in map(by_name, names):
        started = time.monotonic()
        with whole_or_nothing(folder / f"{source.name}-{method.name}") as out:
            compress(source, out, method, calibration(corpus, method.samples))
            files = sorted(path.name for path in out.iterdir())
            seconds = round(time.monotonic() - started, 1)
            stamp = {"inputs": key, "method": method.title, "seconds": seconds, "files": files}
            (out / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
