"""Which matrices of a quantized checkpoint are stored how: its scheme, laid over the anatomy. Pure.

A checkpoint leaves out modules by name (`model.layers.3.self_attn.q_proj`, `self_attn`), by glob (ModelOpt: `*mixer*`)
or by expression (compressed-tensors: `re:.*mlp.gate$`), and families call the same module by other names. An entry
without a number says the same of all layers of a kind; only those with one are looked at layer by layer.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from manta_operator.facts.anatomy.fields import Uncountable
from manta_operator.facts.anatomy.formats import FP8_CHANNEL
from manta_operator.facts.anatomy.names import Names, is_expression
from manta_operator.facts.anatomy.parts import Anatomy, Stored, Weight
from manta_operator.facts.anatomy.schemes import Scheme

Layer = tuple[Weight, ...]

_PREFIXES = ("model.", "model.language_model.", "language_model.model.", "backbone.")
_ALIASES = (
    ("mlp.shared_experts.", ("mlp.shared_expert.", "feed_forward.shared_expert.", "mixer.shared_experts.")),
    ("mlp.experts.0.gate_proj", ("block_sparse_moe.experts.0.w1", "feed_forward.experts.gate_proj")),
    ("mlp.experts.0.up_proj", ("block_sparse_moe.experts.0.w3", "mixer.experts.0.up_proj")),
    ("mlp.experts.0.down_proj", ("block_sparse_moe.experts.0.w2", "mixer.experts.0.down_proj")),
    ("mlp.fc", ("mixer.fc",)),
    ("mlp.", ("feed_forward.", "mixer.")),
    ("self_attn.", ("mixer.", "attn.", "attention.")),
    ("mixer.", ("mamba.",)),
    ("linear_attn.in_proj_qkv", ("linear_attn.in_proj_qkvz",)),
    ("linear_attn.in_proj_z", ("linear_attn.in_proj_qkvz",)),
    ("linear_attn.in_proj_a", ("linear_attn.in_proj_ba",)),
    ("linear_attn.in_proj_b", ("linear_attn.in_proj_ba",)),
)
_USUALLY_KEPT = ("linear_attn.in_proj_a", "linear_attn.in_proj_b", "self_attn.b_proj", "self_attn.f_a_proj")
"""Small projections of recurrent layers, which checkpoints that say nothing of it leave as they are."""
_LATENT_4BIT = ("self_attn.q_a_proj", "self_attn.q_b_proj", "self_attn.kv_a_proj_with_mqa", "self_attn.kv_b_proj")
_BYTE = 8
_ALONE = 5
"""Weights of a layer that is attention alone, without experts or a dense block: Nemotron-H's."""


def dressed(anatomy: Anatomy, scheme: Scheme) -> Anatomy:
    """Return the anatomy with what every matrix is stored as. Raises Uncountable where that would take too long."""
    entries = _Entries(scheme, len(anatomy.layers))
    built: dict[tuple[int, _Said], Layer] = {}
    equal: dict[Layer, Layer] = {}
    layers = []
    for index, layer in enumerate(anatomy.layers):
        said = entries.of(index)
        if (id(layer), said) not in built:
            dress = _Dress(scheme, entries.general, said)
            made = tuple(dress.weight(weight, layer) for weight in layer)
            built[id(layer), said] = equal.setdefault(made, made)
        layers.append(built[id(layer), said])
    dress = _Dress(scheme, entries.general, entries.of(len(anatomy.layers)))
    outside = tuple(dress.alone(weight) for weight in anatomy.outside)
    guesses = tuple(dress.weight(weight, anatomy.guesses) for weight in anatomy.guesses)
    spread = anatomy.spread if scheme.listed else max(anatomy.spread, _UNLISTED)
    return Anatomy(tuple(layers), outside, guesses, spread)


_UNLISTED = 0.02
"""How far the bytes may be off where a checkpoint does not list what it leaves as it is."""


_EXPRESSIONS = 4096
"""Expressions of one checkpoint, those of single layers included; of the catalog's models none has more than 123."""
_COST = 200_000
"""Instructions of expressions, times the layers that they are asked about one by one."""


@dataclass(frozen=True)
class _Said:
    """What is said of one layer alone; its number stands as # in the entries, so that equal layers are said equally.

    `index` is its number where an expression may ask for it, else None.
    """

    ignored: frozenset[str]
    groups: tuple[tuple[str, Stored | None], ...]
    index: int | None


class _List:
    """What entries leave out, and what they make of others."""

    def __init__(self, ignored: Iterable[str], groups: Sequence[tuple[str, Stored | None]]) -> None:
        self._ignored, self._groups = Names(ignored), Names(entry for entry, _ in groups)
        self._stored = [stored for _, stored in groups]
        self.size = self._ignored.size + self._groups.size

    def leaves_out(self, names: Sequence[str]) -> bool:
        """Whether one of these names of a module is left out."""
        return self._ignored.last(names) is not None

    def stored(self, names: Sequence[str], otherwise: Stored | None) -> Stored | None:
        """Return what the last group that has one of these names makes of it."""
        found = self._groups.last(names)
        return otherwise if found is None else self._stored[found]


class _Entries:
    """The entries of a scheme, by the layer that they name; `general`: those that name none."""

    def __init__(self, scheme: Scheme, layers: int) -> None:
        ignored: dict[int | None, list[str]] = defaultdict(list)
        groups: dict[int | None, list[tuple[str, Stored | None]]] = defaultdict(list)
        for entry in scheme.ignored:
            number, general = _numbered(entry)
            ignored[number].append(general)
        for entry, stored in scheme.groups:
            number, general = _numbered(entry)
            groups[number].append((general, stored))
        every = (*ignored[None], *(entry for entry, _ in groups[None]))
        self._single = any(entry.startswith("re:") and _DIGITS.search(entry) for entry in every)
        self.general = _List(dict.fromkeys(ignored.pop(None)), groups.pop(None))
        self._ignored = {number: frozenset(said) for number, said in ignored.items()}
        self._groups = {number: tuple(said) for number, said in groups.items()}
        many = sum(map(is_expression, (*scheme.ignored, *(entry for entry, _ in scheme.groups))))
        if many > _EXPRESSIONS or self.general.size * (layers if self._single else 1) > _COST:
            raise Uncountable(f"config.json: quantization_config has {many} expressions, too many to be counted")

    def of(self, index: int) -> _Said:
        """Return what is said of the layer `index` alone."""
        ignored, groups = self._ignored.get(index, frozenset()), self._groups.get(index, ())
        return _Said(ignored, groups, index if self._single else None)


_NUMBER = re.compile(r"(?<=layers\.)(\d+)(?=\.|\*|$)")
_DIGITS = re.compile(r"layers[^a-z]*[\d\[(]")


def _numbered(entry: str) -> tuple[int | None, str]:
    """Return which layer an entry names, and the entry without its number; an expression may name several."""
    found = None if entry.startswith("re:") else _NUMBER.search(entry)
    return (int(found.group()), _NUMBER.sub("#", entry, count=1)) if found else (None, entry)


class _Dress:
    """A scheme for the layers of which the same is said."""

    def __init__(self, scheme: Scheme, general: _List, said: _Said) -> None:
        self._scheme, self._index = scheme, said.index
        self._lists = (general, _List(sorted(said.ignored), said.groups))

    def weight(self, weight: Weight, layer: Layer) -> Weight:
        """Return a weight of a layer as it is stored."""
        if not weight.linear:
            return weight
        names = list(_names(weight.name, self._index))
        stored = self._grouped(names, self._of_kind(weight, layer))
        if stored is None or self._left_out(names):
            return weight
        return replace(weight, stored=stored)

    def alone(self, weight: Weight) -> Weight:
        """Return a weight outside of the layers: only what a group names is quantized there."""
        if weight.name not in ("lm_head", "embed_tokens"):
            return weight
        stored = self._grouped([weight.name], None)
        return weight if stored is None or self._left_out([weight.name]) else replace(weight, stored=stored)

    def _grouped(self, names: Sequence[str], otherwise: Stored | None) -> Stored | None:
        for each in self._lists:
            otherwise = each.stored(names, otherwise)
        return otherwise

    def _of_kind(self, weight: Weight, layer: Layer) -> Stored | None:
        stored = self._scheme.experts if weight.split == "experts" else self._scheme.linear
        if self._scheme.listed or stored is None:
            return stored
        if weight.name in _USUALLY_KEPT or (weight.name.startswith("linear_attn.") and stored == FP8_CHANNEL):
            return None  # llm-compressor's FP8-dynamic leaves all of a delta net as it is
        if weight.name.startswith("self_attn.") and len(layer) == _ALONE:
            return None  # ModelOpt's Nemotron-H: the few layers of attention
        latent = any(each.name == "self_attn.kv_b_proj" for each in layer)
        attention = weight.name in _LATENT_4BIT or weight.name in ("self_attn.o_proj", "self_attn.indexer.wq_b")
        return None if latent and attention and stored.bits < _BYTE else stored

    def _left_out(self, names: Sequence[str]) -> bool:
        return any(each.leaves_out(names) for each in self._lists)


def _names(name: str, index: int | None) -> Iterator[str]:
    """Yield the names that a checkpoint may have for a module of a layer, with its number as # and as it is."""
    others = {name}
    for own, aliases in _ALIASES:
        if name.startswith(own):
            others.update(alias + name[len(own) :] for alias in aliases)
    for prefix in _PREFIXES:
        for other in sorted(others):
            yield f"{prefix}layers.#.{other}"
            if index is not None:
                yield f"{prefix}layers.{index}.{other}"
