"""ModelFacts: what the fit needs to know of a model, from its `config.json` and its safetensors headers.

`from_config` is pure. `read` is the one function here that touches a disk: it is called at the edges (command line,
controller) and answers None where the checkpoint cannot be seen from here, which is the normal case in a cluster.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manta_operator.api.printable import printable
from manta_operator.facts import context, kv_cache, steps
from manta_operator.facts.anatomy.fields import LAYERS_LIMIT
from manta_operator.facts.anatomy.headers import FactsError, Tensor, sums, tensors
from manta_operator.facts.anatomy.parts import Anatomy
from manta_operator.facts.anatomy.stored import anatomy_of
from manta_operator.facts.caches.layers import Cache
from manta_operator.facts.caches.read import read as read_caches
from manta_operator.facts.plausible import plausible
from manta_operator.facts.steps import NO_STEP, Step

__all__ = ["FactsError", "ModelFacts", "from_config", "read"]

_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
_EXPERT_COUNTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
"""Where vLLM looks for the number of experts, in its order (transformers_utils/model_arch_config_convertor.py)."""
_CHOSEN_EXPERTS = ("num_experts_per_tok", "moe_topk", "top_k_experts", "moe_k", "num_experts_per_token")
"""Where models say how many of them compute a token."""
_WORDS_LIMIT = 256


@dataclass(frozen=True)
class ModelFacts:
    """Architecture of a decoder-only model.

    `weights_bytes` is the sum over the checkpoint's tensors, None if unknown; `max_positions` the longest context in
    tokens, `default_positions` the one that vLLM takes where nobody asks for more (None: the longest); `dtype_bytes`
    the bytes of one unquantized parameter; `parameters` how many the checkpoint holds, None where that is unknown or
    some are quantized. `latent_dim` is what multi-head latent attention caches for a token and layer
    instead of keys and values (None: it does not). `unmodelled` names what the arithmetic of the KV cache cannot count.
    `quantization` is the checkpoint's quant_method, `rope_scaling` how the model scales its positions itself.
    `experts` are those of one layer that a router chooses from (0: none), `expert_share` what they are of the weights,
    `experts_per_token` how many compute a token (0: not known).
    `anatomy` are its weights one by one, `uncounted` why they are not known from its configuration.
    `kv_cache_dtype` is what a quantized checkpoint wants its KV cache stored as; None: the type of the activations.
    `basis` is what they were read from: "checkpoint" (its tensors, too), "config.json" alone, or the "catalog".
    `step` says how large the intermediate values of a step are. `caches` says what each layer keeps of its tokens;
    empty where `unmodelled` says why it is not known.
    """

    architecture: str
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    max_positions: int | None
    dtype_bytes: float
    quantization: str | None
    weights_bytes: int | None
    parameters: int | None = None
    latent_dim: int | None = None
    unmodelled: str | None = None
    rope_scaling: str | None = None
    experts: int = 0
    expert_share: float = 0.0
    kv_cache_dtype: str | None = None
    default_positions: int | None = None
    anatomy: Anatomy | None = None
    uncounted: str | None = None
    caches: tuple[Cache, ...] = ()
    basis: str = "config.json"
    experts_per_token: int = 0
    step: Step = NO_STEP

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of KV cache one token needs over all layers, unsharded, in the model's dtype.

        2 (key and value) x layers x KV heads x head dimension x bytes: grouped-query attention, Ainslie et al. 2023;
        layers x latent dimension x bytes: multi-head latent attention, DeepSeek-V2, section 2.1.
        """
        return self.layers * (self.latent_dim or 2 * self.kv_heads * self.head_dim) * self.dtype_bytes


def from_config(
    config: Mapping[str, Any],
    weights_bytes: int | None = None,
    parameters: int | None = None,
    expert_share: float = 0.0,
    found: tuple[Tensor, ...] = (),
) -> ModelFacts:
    """Read the facts from a Hugging Face `config.json`, and from the tensors that are `found` beside it.

    Raises:
        FactsError: a field that the arithmetic needs is missing or not a number, or it is no model's configuration.
    """
    try:
        return _facts(plausible(config), weights_bytes, parameters, expert_share, found)
    except FactsError:
        raise
    except _STRANGE as error:
        raise FactsError(f"config.json cannot be read: {_word(f'{type(error).__name__}: {error}')}") from error


_STRANGE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What a field of another kind than models have ends in: the file is a stranger's, and facts are never needed."""


def _facts(
    config: Mapping[str, Any],
    weights_bytes: int | None,
    parameters: int | None,
    expert_share: float,
    found: tuple[Tensor, ...],
) -> ModelFacts:
    text, caches = _decoder(config)
    hidden, heads, kv_heads, head_dim = _widths(text, caches)
    quantization = _quantization(config)
    facts = ModelFacts(
        architecture=_architecture(config),
        layers=_layers(text),
        hidden_size=hidden,
        attention_heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        max_positions=context.longest_context(text),
        default_positions=context.default_context(text),
        rope_scaling=_scaling(text),
        dtype_bytes=_BYTES.get(str(text.get("dtype") or text.get("torch_dtype")), 2.0),
        quantization=_word(quantization.get("quant_method") or "unknown").lower() if quantization else None,
        weights_bytes=weights_bytes,
        parameters=None if quantization else parameters,
        latent_dim=_latent(text),
        unmodelled=_word(caches) if isinstance(caches, str) else None,
        experts=_experts(text),
        experts_per_token=_counted(text, _CHOSEN_EXPERTS),
        expert_share=expert_share,
        kv_cache_dtype=kv_cache.cached_as(quantization),
        caches=() if isinstance(caches, str) else caches,
        step=steps.read(config, text),
        basis="config.json" if weights_bytes is None else "checkpoint",
    )
    return facts if weights_bytes is not None and not found else _with_anatomy(facts, config, found)


def _decoder(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[Cache, ...] | str]:
    """Return the decoder's configuration, which multimodal models nest, and what its layers keep."""
    text = _mapping(config, "text_config") or config
    return text, read_caches(text)


def _with_anatomy(facts: ModelFacts, config: Mapping[str, Any], found: tuple[Tensor, ...]) -> ModelFacts:
    counted = anatomy_of(config, _quantization(config), found, facts.kv_heads)
    if isinstance(counted, str):
        return replace(facts, uncounted=_word(counted))
    return replace(facts, anatomy=counted)


def _scaling(text: Mapping[str, Any]) -> str | None:
    scaling = context.own_scaling(text)
    return None if scaling is None else _word(scaling)


def _layers(text: Mapping[str, Any]) -> int:
    layers = _integer(text, "num_hidden_layers")
    if layers > LAYERS_LIMIT:
        raise FactsError(f"config.json: num_hidden_layers is {layers}, and no model has more than {LAYERS_LIMIT:,}")
    return layers


def _latent(text: Mapping[str, Any]) -> int | None:
    latent = _integer(text, "kv_lora_rank", default=0)
    return latent + _integer(text, "qk_rope_head_dim", default=0) if latent else None


def _architecture(config: Mapping[str, Any]) -> str:
    said = config.get("architectures")
    return _word(said[0] if isinstance(said, list) and said else "unknown")


def _widths(text: Mapping[str, Any], caches: tuple[Cache, ...] | str) -> tuple[int, int, int, int]:
    """Return the width, the heads, the KV heads and the size of a head; without attention there may be no heads."""
    attends = not isinstance(caches, str) and any(cache.kind not in ("recurrent", "none") for cache in caches)
    heads = _integer(text, "num_attention_heads", default=None if attends else 0)
    hidden = _integer(text, "hidden_size")
    kv_heads = _integer(text, "num_key_value_heads", default=heads)
    return hidden, heads, kv_heads, _integer(text, "head_dim", default=hidden // max(1, heads))


def _word(said: Any) -> str:
    """Return what a checkpoint says of itself as it can stand in a status."""
    return printable(str(said), _WORDS_LIMIT)


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the checkpoint says of its quantization, wherever vLLM looks for it."""
    text = _mapping(config, "text_config")
    for holder in (config, text):
        for key in ("quantization_config", "compression_config"):
            if found := _mapping(holder, key):
                return {"quant_method": "compressed-tensors"} | dict(found) if key == "compression_config" else found
    return {}


def read(folder: Path) -> ModelFacts | None:
    """Read the facts of the checkpoint in `folder`; None if there is no folder or no `config.json` in it.

    Raises:
        FactsError: the files are there but are not what they should be.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RecursionError, ValueError) as error:
        raise FactsError(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise FactsError(f"{path}: not a JSON object")
    found = tensors(folder)
    try:
        return from_config(config, *sums(found), found)
    except FactsError as error:
        raise FactsError(f"{folder}/{error}") from error


def _mapping(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, Mapping):
        raise FactsError(f"config.json: {key} should be an object, it is {_word(repr(value))}")
    return value


def _experts(config: Mapping[str, Any]) -> int:
    """Return how many experts a layer has that a router chooses from; 0 for none."""
    return _counted(config, _EXPERT_COUNTS)


def _counted(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """Return the number under the first of these names; 0 for none."""
    for name in names:
        if config.get(name) is not None:
            value = config[name]
            count = value[0] if isinstance(value, list) and value else value  # of each modality; vLLM takes the first
            return _integer({name: count}, name, default=0)
    return 0


def _integer(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or (value == 0 and default is None):
        raise FactsError(f"config.json: {key} should be a positive integer, it is {_word(repr(value))}")
    return value
