"""What a decoder layer keeps of the tokens it has seen: the words of the KV cache's arithmetic. Pure values.

`read.py` reads them from a `config.json`, `planning/memory/kv_groups.py` counts with them. One `Cache` per layer, in
the order of the layers; equal layers are equal values.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["full", "window", "chunked", "latent", "recurrent", "none"]
Family = Literal["mamba1", "mamba2", "delta", "kda", "linear", "short-conv"]


@dataclass(frozen=True)
class State:
    """What a recurrent layer keeps for a sequence, whatever its length, as numbers of values over all ranks.

    `channels` x `length` values of a convolution, in the type of the activations or `conv_width` bytes each;
    `heads` x `per_head` values of the state, of `width` bytes each (None: as the convolution). `groups` of
    `group_values` channels each are counted in `channels` and are copied where they are fewer than the ranks.
    """

    family: Family
    channels: int
    length: int
    heads: int = 0
    per_head: int = 0
    width: float | None = None
    conv_width: float | None = None
    groups: int = 0
    group_values: int = 0


@dataclass(frozen=True)
class Cache:
    """What one layer keeps.

    `heads` are its KV heads, `head_dim` and `value_dim` the values of a key and of a value; `window` the tokens that
    a window or chunk spans; `latent` the values of a token in multi-head latent attention, which every rank keeps
    whole; `indexer` the bytes a token takes in the key cache of sparse attention. A layer can keep both attention and
    a `state`. `none` keeps nothing: it has no attention, or reads the cache of another layer.
    """

    kind: Kind
    heads: int = 0
    head_dim: int = 0
    value_dim: int = 0
    window: int | None = None
    latent: int = 0
    indexer: int = 0
    state: State | None = None
