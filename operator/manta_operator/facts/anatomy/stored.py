"""The anatomy of a checkpoint as it is stored: what its `config.json` describes, quantized as it says. Pure.

Joins `config` (which weights) with `schemes` and `kept` (how they are stored).
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.facts.anatomy.config import anatomy
from manta_operator.facts.anatomy.fields import Uncountable
from manta_operator.facts.anatomy.headers import Tensor
from manta_operator.facts.anatomy.kept import dressed
from manta_operator.facts.anatomy.parts import Anatomy
from manta_operator.facts.anatomy.schemes import scheme
from manta_operator.facts.anatomy.tensors import best


def anatomy_of(
    config: Mapping[str, Any], quantization: Mapping[str, Any], found: tuple[Tensor, ...] = (), kv_heads: int = 0
) -> Anatomy | str:
    """Return the weights of a checkpoint: by its configuration and its quantization (empty: none), or why not.

    Of tensors that are `found` the anatomy is theirs, wherever the configuration says something else.
    """
    described = _described(config, quantization)
    if not found:
        return described
    text = config.get("text_config") if isinstance(config.get("text_config"), Mapping) else config
    layers = text.get("num_hidden_layers") if isinstance(text, Mapping) else None
    if not isinstance(layers, int):
        return described
    tied = isinstance(described, Anatomy) and not any(weight.name == "lm_head" for weight in described.outside)
    return best(found, described, layers, kv_heads, tied)


def _described(config: Mapping[str, Any], quantization: Mapping[str, Any]) -> Anatomy | str:
    bare = anatomy(config)
    if isinstance(bare, str) or not quantization:
        return bare
    try:
        return dressed(bare, scheme({"expert_dtype": config.get("expert_dtype"), **quantization}))
    except Uncountable as error:
        return str(error)
    except (TypeError, ValueError) as error:
        return f"config.json: quantization_config cannot be read: {error}"
