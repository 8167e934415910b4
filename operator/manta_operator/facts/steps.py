"""How large the intermediate values of one step are: what the fit needs beyond weights and caches. Pure.

Read from `config.json`; zero where it does not say, and the fit then counts less and says so in its bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DYNAMIC_PATCHES = 65_536
"""Patches of the largest picture of towers without a fixed size: 16,384 tokens of 2 x 2 patches (Qwen-VL's default)."""


@dataclass(frozen=True)
class Tower:
    """The tower of another modality: `patches` of its largest item, 0 for an item of any size."""

    hidden: int
    intermediate: int
    patches: int

    @property
    def most_patches(self) -> int:
        """Patches of one item of the largest size."""
        return self.patches or _DYNAMIC_PATCHES


@dataclass(frozen=True)
class Step:
    """Sizes of a step: of the vocabulary, of dense layers and of one expert, as numbers of values.

    `grouped` says that the experts are quantized in blocks to fp8, which has kernels with workspaces of their own.
    """

    vocabulary: int = 0
    intermediate: int = 0
    expert: int = 0
    grouped: bool = False
    tower: Tower | None = None


NO_STEP = Step()
"""Nothing is known of it."""


def read(config: Mapping[str, Any], text: Mapping[str, Any]) -> Step:
    """Read the sizes from a `config.json` and from the part of it that describes the decoder."""
    quantization = config.get("quantization_config")
    blocks = quantization.get("weight_block_size") if isinstance(quantization, Mapping) else None
    return Step(
        vocabulary=_number(text, "vocab_size"),
        intermediate=_number(text, "intermediate_size", "ffn_hidden_size", "n_inner"),
        expert=_number(text, "moe_intermediate_size", "expert_ffn_hidden_size"),
        grouped=bool(blocks),
        tower=_tower(config.get("vision_config")),
    )


def _tower(said: Any) -> Tower | None:
    if not isinstance(said, Mapping) or not said:
        return None
    hidden = _number(said, "hidden_size", "embed_dim", "width") or 1024
    inner = _number(said, "intermediate_size", "mlp_dim") or 4 * hidden
    size, patch = _number(said, "image_size"), _number(said, "patch_size") or 14
    return Tower(hidden, inner, (size // patch) ** 2 if size else 0)


def _number(said: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = said.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
