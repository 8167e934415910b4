"""The proof that a checkpoint is quantized, and what it finds out. Importing torch takes seconds."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def proof():
    """Needs torch, which is installed with the engine."""
    pytest.importorskip("torch")
    import compression.proof

    return compression.proof


def stored(folder: Path, weight) -> Path:
    from safetensors.torch import save_file

    names = [f"model.layers.0.self_attn.{name}_proj.weight" for name in "qk"]
    save_file(
        {names[0]: weight.clone(), names[1]: weight, "model.norm.weight": weight[0] + 0.5}, folder / "model.safetensors"
    )
    return folder


def test_a_checkpoint_that_was_left_as_it_was_is_found_out(tmp_path, proof):
    import torch

    stored(tmp_path, torch.ones(4, 8, dtype=torch.bfloat16))
    with pytest.raises(proof.NotDone, match=r"should be I8, but 2 of 2 layers are not, as .*k_proj.weight is BF16"):
        proof.prove(tmp_path, "I8")
    with pytest.raises(proof.NotDone, match=r"should be 2:4, but 2 of 2 layers are not"):
        proof.prove(tmp_path, "2:4")
    proof.prove(tmp_path, "BF16")


def test_two_of_four_zeros_are_sparse(tmp_path, proof):
    import torch

    proof.prove(stored(tmp_path, torch.tensor([[0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 3.0]])), "2:4")


def test_half_zeros_are_not_enough(tmp_path, proof):
    import torch

    with pytest.raises(proof.NotDone, match="2:4"):
        proof.prove(stored(tmp_path, torch.tensor([[0.0, 0.0, 0.0, 2.0, 1.0, 1.0, 1.0, 0.0]])), "2:4")


def test_a_checkpoint_without_layers_proves_nothing(tmp_path, proof):
    with pytest.raises(proof.NotDone, match="no layer was found"):
        proof.prove(tmp_path, "I8")
