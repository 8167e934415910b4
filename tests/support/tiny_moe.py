"""A tiny mixture of experts with the tokenizer of the tiny model: `python tests/support/tiny_moe.py OUT`.

Random weights from a seed: its answers are no language, but the same ones wherever and however it is cut. Shaped like
Qwen3-MoE: two layers of four experts, two of them for each token. Made in a process of its own, since torch is large.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

MODELS = Path(__file__).parents[2] / ".models"
STAMP = "manta-tiny-moe"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def tiny_moe() -> Path:
    """Return the folder of the model, made now if it is missing or was made from something else."""
    folder = MODELS / "tiny-moe"
    wanted = _fingerprint()
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return folder
    part = MODELS / ".tiny-moe.part"
    shutil.rmtree(part, ignore_errors=True)
    subprocess.run([sys.executable, __file__, str(part)], check=True, capture_output=True, timeout=300)
    (part / STAMP).write_text(wanted)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def _fingerprint() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name in TOKENIZER:
        digest.update((MODELS / "tiny" / name).read_bytes())
    return digest.hexdigest()


def make(out: Path) -> None:
    """Write the model. Loads torch."""
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    torch.manual_seed(7)
    config = Qwen3MoeConfig(
        vocab_size=2048,
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_experts=4,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    Qwen3MoeForCausalLM(config).to(torch.bfloat16).save_pretrained(out)
    for name in TOKENIZER:
        shutil.copy(MODELS / "tiny" / name, out / name)
    (out / "model.safetensors").chmod(0o644)  # pods may run as another user


if __name__ == "__main__":
    make(Path(sys.argv[1]))
