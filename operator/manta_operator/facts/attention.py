"""Which attention a model has, as far as its KV cache is concerned: what the fit does not count yet, by name. Pure.

Counted are full attention (grouped-query) and multi-head latent attention. Everything else gets the verdict Unknown:
a wrong False would refuse a model that serves.
"""

from collections.abc import Mapping
from typing import Any

_RECURRENT = ("mamba", "ssm", "rwkv", "linear_attn", "linear_key_head_dim", "linear_num_", "hybrid_override_pattern")


def unmodelled(config: Mapping[str, Any]) -> str | None:
    """Return what of this decoder's cache is not counted, in words; None if all of it is."""
    kinds = config.get("layer_types")
    others = sorted({str(kind) for kind in kinds if kind != "full_attention"}) if isinstance(kinds, list) else ()
    if others:
        return f"layers of {', '.join(others)}"
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        return f"a sliding window of {config['sliding_window']} tokens"
    if config.get("attention_chunk_size"):
        return f"attention in chunks of {config['attention_chunk_size']} tokens"
    if config.get("index_topk"):
        return "sparse attention with an indexer"
    names = [str(config.get("model_type") or ""), *(key for key, value in config.items() if value)]
    recurrent = next((name for name in names for word in _RECURRENT if word in name), None)
    return f"the state of recurrent layers ({recurrent})" if recurrent else None
