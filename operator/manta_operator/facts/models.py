"""ModelFacts: what the fit needs to know of a model, from its `config.json` and its safetensors headers.

`from_config` is pure. `read` is the one function here that touches a disk: it is called at the edges (command line,
controller) and answers None where the checkpoint cannot be seen from here, which is the normal case in a cluster.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta_operator.api.printable import printable
from manta_operator.facts import caches_read, context, kv_cache, steps
from manta_operator.facts.anatomy import Anatomy
from manta_operator.facts.anatomy_stored import anatomy_of
from manta_operator.facts.caches import Cache
from manta_operator.facts.steps import NO_STEP, Step

_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
_TENSOR_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_EXPERT_COUNTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
"""Where vLLM looks for the number of experts, in its order (transformers_utils/model_arch_config_convertor.py)."""
_CHOSEN_EXPERTS = ("num_experts_per_tok", "moe_topk", "top_k_experts", "moe_k", "num_experts_per_token")
"""Where models say how many of them compute a token."""
_EXPERT_TENSORS = ".experts."
_WORDS_LIMIT = 256
_HEADER_LIMIT = 100 * 2**20  # the safetensors format refuses longer headers


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


class FactsError(ValueError):
    """A checkpoint is there but cannot be understood; the message says which file and what is wrong with it."""


def from_config(
    config: Mapping[str, Any],
    weights_bytes: int | None = None,
    parameters: int | None = None,
    expert_share: float = 0.0,
) -> ModelFacts:
    """Read the facts from a Hugging Face `config.json`.

    Raises:
        FactsError: a field that the arithmetic needs is missing or not a number.
    """
    text = _mapping(config, "text_config") or config  # multimodal models nest the decoder's configuration
    caches = caches_read.read(text)
    unmodelled = caches if isinstance(caches, str) else None
    attends = not isinstance(caches, str) and any(cache.kind not in ("recurrent", "none") for cache in caches)
    heads = _integer(text, "num_attention_heads", default=None if attends else 0)
    hidden = _integer(text, "hidden_size")
    dtype = text.get("dtype") or text.get("torch_dtype") or "bfloat16"
    quantization = _quantization(config)
    architectures = config.get("architectures")
    latent, scaling = _integer(text, "kv_lora_rank", default=0), context.own_scaling(text)
    counted = anatomy_of(config, quantization) if weights_bytes is None else None
    return ModelFacts(
        architecture=_word(architectures[0] if isinstance(architectures, list) and architectures else "unknown"),
        layers=_integer(text, "num_hidden_layers"),
        hidden_size=hidden,
        attention_heads=heads,
        kv_heads=_integer(text, "num_key_value_heads", default=heads),
        head_dim=_integer(text, "head_dim", default=hidden // max(1, heads)),
        max_positions=context.longest_context(text),
        default_positions=context.default_context(text),
        rope_scaling=None if scaling is None else _word(scaling),
        dtype_bytes=_BYTES.get(str(dtype), 2.0),
        quantization=_word(quantization.get("quant_method") or "unknown").lower() if quantization else None,
        weights_bytes=weights_bytes,
        parameters=None if quantization else parameters,
        latent_dim=latent + _integer(text, "qk_rope_head_dim", default=0) if latent else None,
        unmodelled=None if unmodelled is None else _word(unmodelled),
        experts=_experts(text),
        experts_per_token=_counted(text, _CHOSEN_EXPERTS),
        expert_share=expert_share,
        kv_cache_dtype=kv_cache.cached_as(quantization),
        anatomy=counted if isinstance(counted, Anatomy) else None,
        uncounted=_word(counted) if isinstance(counted, str) else None,
        caches=() if isinstance(caches, str) else caches,
        step=steps.read(config, text),
        basis="config.json" if weights_bytes is None else "checkpoint",
    )


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
    except (OSError, ValueError) as error:
        raise FactsError(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise FactsError(f"{path}: not a JSON object")
    weights = _weights(folder)
    try:
        return from_config(config, *weights)
    except FactsError as error:
        raise FactsError(f"{folder}/{error}") from error


def _weights(folder: Path) -> tuple[int | None, int | None, float]:
    """Sum the bytes and the parameters of the files that the engine loads; which share of the bytes experts are."""
    files = _weight_files(folder)
    if not files:
        return None, None, 0.0
    sizes = [_tensor_sizes(path) for path in files]
    total, experts = sum(size for size, _, _ in sizes), sum(size for _, _, size in sizes)
    counts = [count for _, count, _ in sizes]
    parameters = None if None in counts else sum(count or 0 for count in counts)
    return total, parameters, experts / total if total else 0.0


def _weight_files(folder: Path) -> list[Path]:
    """Return the files of the index; without one all but Mistral's second copy of the same weights."""
    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        return sorted(folder / name for name in names)
    except FileNotFoundError:
        files = sorted(folder.glob("*.safetensors"))
        return [path for path in files if not path.name.startswith("consolidated")] or files
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FactsError(f"{index}: not a readable index of safetensors files: {error}") from error


def _tensor_sizes(path: Path) -> tuple[int, int | None, int]:
    """Sum the tensors' bytes, parameters (None where some are quantized) and the bytes of experts, from the header."""
    try:
        tensors = {name: entry for name, entry in _header(path).items() if name != "__metadata__"}
        sizes = {name: entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in tensors.items()}
        widths = [_TENSOR_BYTES.get(entry["dtype"]) for entry in tensors.values()]
        total = sum(sizes.values())
        experts = sum(size for name, size in sizes.items() if _EXPERT_TENSORS in name)
    except FactsError:
        raise
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FactsError(f"{path}: not a readable safetensors file: {error}") from error
    if None in widths:
        return total, None, experts
    return total, sum(size // (width or 1) for size, width in zip(sizes.values(), widths, strict=True)), experts


def _header(path: Path) -> Any:
    """Read the header: eight bytes of length (little endian), then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _HEADER_LIMIT:
            raise FactsError(f"{path}: not a safetensors file (its header would be {length} bytes long)")
        text = file.read(length)
    if len(text) < length:
        raise FactsError(f"{path}: not a whole safetensors file: it ends within its header; copy it again")
    return json.loads(text)


def _mapping(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, Mapping):
        raise FactsError(f"config.json: {key} should be an object, it is {value!r}")
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
        raise FactsError(f"config.json: {key} should be a positive integer, it is {value!r}")
    return value
