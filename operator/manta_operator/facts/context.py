"""How long a context a model was made for, from its `config.json`, as vLLM 0.32 derives it. Pure.

length = the least of the keys below, or model_max_length     transformers_utils/model_arch_config_convertor.py
x factor of rotary positions that are scaled         config/model.py, _get_and_verify_max_len
(not of those whose config.json has the longer length already: yarn, llama3, longrope, Gemma 3)
"""

from collections.abc import Iterator, Mapping
from typing import Any

_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
_COUNTED_ALREADY = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")
_LONGROPE = ("longrope", "su")
_PLAIN = ("default", "mrope")
SEVERAL = "several kinds"


def longest_context(config: Mapping[str, Any]) -> int | None:
    """Return the longest context in tokens; None where the config does not say it."""
    lengths = [value for key in _KEYS if isinstance(value := config.get(key), int) and value > 0]
    said = config.get("model_max_length")
    length = said if isinstance(said, int) and said > 0 else min(lengths, default=None)
    if length is None or "gemma3" in str(config.get("model_type")):
        return length
    factors = [rope.get("factor") for rope in _ropes(config) if _kind(rope) not in (*_COUNTED_ALREADY, *_PLAIN)]
    known = [factor for factor in factors if isinstance(factor, int | float) and factor > 0]
    return int(length * known[-1]) if known else length


def default_context(config: Mapping[str, Any]) -> int | None:
    """Return the length in tokens that vLLM takes unless it is told one; None where the config does not say it.

    Of longrope that is the length from before it: the longer one costs short prompts some quality.
    """
    original = config.get("original_max_position_embeddings")
    extended = any(_kind(rope) in _LONGROPE for rope in _ropes(config))
    return original if extended and isinstance(original, int) and original > 0 else longest_context(config)


def own_scaling(config: Mapping[str, Any]) -> str | None:
    """Return how the model scales its rotary positions itself: None where it does not, or `SEVERAL`."""
    ropes = list(_ropes(config))
    if len(ropes) > 1:
        return SEVERAL
    kinds = [kind for rope in ropes if (kind := _kind(rope)) not in _PLAIN]
    return kinds[0] if kinds else None


def _ropes(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the rotary positions of the layers: one for all, or one for each kind of layer."""
    said = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(said, Mapping):
        return
    kinds = [value for value in said.values() if isinstance(value, Mapping)]
    yield from kinds or [said]


def _kind(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")
