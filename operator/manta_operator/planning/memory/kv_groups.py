"""Blocks of the KV cache: what one takes on a rank, and how many a request needs. Pure; fit.py divides by it.

vLLM keeps one pool of blocks. Layers that need the same tokens form a group with a table of blocks of its own; a
block of the pool holds the pages of one group, so groups are cut to the same number of layers, and padded:

    page              bytes of one layer for the tokens of a block, the same for all layers
    bytes per block   = most layers of a group x page
    blocks of a request, added up over the groups:
        full, latent    ceil(length / tokens of a block)
        window          ceil(min(window - 1 + in flight, length) / tokens of a block) + 1
        chunked         ceil(min(chunk + in flight, length) / tokens of a block)
        recurrent       1 + guessed tokens; 2 + guessed tokens where prefixes are cached (mode "align")

Layers that all need the same tokens but not the same bytes are one group whose pages add up. A page of attention is
at least the state of a recurrent layer: vLLM lengthens the blocks until it is. Source: vLLM 0.32,
v1/core/kv_cache_utils.py (get_kv_cache_groups, unify_kv_cache_spec_page_size, get_kv_cache_config_from_groups),
v1/kv_cache_interface.py (max_memory_usage_bytes of each spec), platforms/interface.py (_align_hybrid_block_size).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from manta_operator.facts.caches.layers import Cache
from manta_operator.planning.memory.kv_widths import Widths, attention_bytes, state_bytes
from manta_operator.planning.memory.weights_rank import partitions

_MOST_PADDING = 1.5
"""Where one kind has fewer than this times the layers of another, groups get the larger number (kv_cache_utils.py)."""


@dataclass(frozen=True)
class Use:
    """How requests use the cache, in tokens.

    `in_flight`: computed but not settled yet, which windows keep beyond themselves; `guessed`: by speculation in a
    step; `cached_prefixes`: a recurrent layer keeps a second state; `hybrid`: False where all layers keep everything.
    """

    length: int
    in_flight: int
    guessed: int = 0
    cached_prefixes: bool = False
    hybrid: bool = True


@dataclass(frozen=True)
class Pool:
    """The blocks of one rank.

    `bytes_per_block` and `request_blocks` (for a request of the longest length) of an engine's fullest stage;
    `token_bytes` what one more token of a long request takes; `states` whether each sequence needs a block of its own.
    """

    bytes_per_block: int
    request_blocks: int
    token_bytes: float
    groups: int
    states: bool = False

    @property
    def request_bytes(self) -> int:
        """What one request of the longest length needs on one rank."""
        return self.bytes_per_block * self.request_blocks


@dataclass(frozen=True)
class _Layer:
    """One table entry of a layer: its kind (with its window), the tokens of a block and the bytes of a page."""

    kind: str
    window: int
    block: int
    page: int


def pool(caches: Sequence[Cache], widths: Widths, use: Use, stages: int = 1) -> Pool | None:
    """Return the pool of an engine whose layers are cut into `stages`; None for layers that keep nothing."""
    layers = _layers(caches, widths, use)
    if not layers:
        return None
    kinds = {(layer.kind, layer.window, layer.block) for _, layer in layers}
    if len(kinds) == 1:
        return _one_group(layers, use, _bounds(len(caches), stages))
    return _several_groups(_unified(layers), use, _bounds(len(caches), stages))


def _layers(caches: Sequence[Cache], widths: Widths, use: Use) -> list[tuple[int, _Layer]]:
    """The entries of all layers with the layer's number: one of each kind of cache that it has."""
    sizes = {cache: _entries(cache, widths, use) for cache in dict.fromkeys(caches)}
    largest = max(
        (entry.page for entries in sizes.values() for entry in entries if entry.kind == "recurrent"), default=0
    )
    if largest:
        widths = replace(widths, block=_lengthened(sizes, widths, largest))
        sizes = {cache: _entries(cache, widths, use) for cache in sizes}
    return [(number, entry) for number, cache in enumerate(caches) for entry in sizes[cache]]


def _entries(cache: Cache, widths: Widths, use: Use) -> tuple[_Layer, ...]:
    found = []
    if cache.kind not in ("recurrent", "none"):
        own = attention_bytes(cache, widths)
        window = cache.window or 0
        kind = "full" if cache.kind == "latent" or not use.hybrid else cache.kind
        found.append(_Layer(kind, 0 if kind == "full" else window, widths.block, math.ceil(own * widths.block)))
        if cache.indexer:
            found.append(_Layer("full", 0, widths.block, cache.indexer * widths.block))
    if cache.state is not None:
        found.append(_Layer("recurrent", 0, 0, state_bytes(cache.state, widths, use.guessed)))
    return tuple(found)


def _lengthened(sizes: dict[Cache, tuple[_Layer, ...]], widths: Widths, state: int) -> int:
    """Tokens of a block at which the smallest page of attention holds a state."""
    pages = [entry.page for entries in sizes.values() for entry in entries if entry.kind != "recurrent"]
    if not pages:
        return widths.block
    step = max(widths.block, 128) if any(cache.latent for cache in sizes) else widths.block
    token = min(pages) / widths.block
    return max(widths.block, step * math.ceil(state / (step * token)))


def _unified(layers: list[tuple[int, _Layer]]) -> list[tuple[int, _Layer]]:
    """Give all layers the largest page: by more tokens in a block where that comes out even, else by padding."""
    largest = max(layer.page for _, layer in layers)

    def fit(layer: _Layer) -> _Layer:
        times = largest // layer.page if largest % layer.page == 0 and layer.kind != "recurrent" else 1
        return replace(layer, page=largest, block=layer.block * times)

    return [(number, fit(layer)) for number, layer in layers]


def _one_group(layers: list[tuple[int, _Layer]], use: Use, bounds: list[tuple[int, int]]) -> Pool:
    first = layers[0][1]
    own = max(sum(layer.page for number, layer in layers if low <= number < high) for low, high in bounds)
    return Pool(own, _blocks(first, use), _token_bytes(first, own), 1, first.kind == "recurrent")


def _several_groups(layers: list[tuple[int, _Layer]], use: Use, bounds: list[tuple[int, int]]) -> Pool:
    buckets: dict[tuple[str, int, int], list[int]] = {}
    for number, layer in layers:
        buckets.setdefault((layer.kind, layer.window, layer.block), []).append(number)
    counts = [len(numbers) for numbers in buckets.values()]
    size = max(counts) if max(counts) < min(counts) * _MOST_PADDING else min(counts)
    page, widest, blocks, tokens, groups = layers[0][1].page, 0, 0, 0.0, 0
    for (kind, window, block), numbers in buckets.items():
        number = math.ceil(len(numbers) / size)
        layer = _Layer(kind, window, block, page)
        blocks, groups = blocks + number * _blocks(layer, use), groups + number
        tokens += number * _token_bytes(layer, 1)
        widest = max(widest, *(_held(numbers[start::number], bounds) for start in range(number)))
    whole = widest * page if len(bounds) > 1 else size * page
    return Pool(whole, blocks, tokens * whole, groups, any(kind == "recurrent" for kind, _, _ in buckets))


def _held(numbers: list[int], bounds: list[tuple[int, int]]) -> int:
    """The most layers of a group that one stage holds."""
    return max(sum(low <= number < high for number in numbers) for low, high in bounds)


def _blocks(layer: _Layer, use: Use) -> int:
    """Blocks that a request of the longest length takes of a group."""
    if layer.kind == "recurrent":
        return (2 if use.cached_prefixes else 1) + use.guessed
    if layer.kind == "window":
        return math.ceil(min(layer.window - 1 + use.in_flight, use.length) / layer.block) + 1
    if layer.kind == "chunked":
        return math.ceil(min(layer.window + use.in_flight, use.length) / layer.block)
    return math.ceil(use.length / layer.block)


def _token_bytes(layer: _Layer, per_block: float) -> float:
    return per_block / layer.block if layer.kind == "full" else 0.0


def _bounds(layers: int, stages: int) -> list[tuple[int, int]]:
    """First and last layer of each stage."""
    return list(pairwise(accumulate(partitions(layers, stages), initial=0)))
