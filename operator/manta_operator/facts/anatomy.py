"""Which weights a model is made of, and how the engine cuts each of them. Pure; a part of ModelFacts.

The fit counts bytes by rank, so it needs more than a sum: a router's gate is on every rank, the vocabulary is padded
before it is cut, and a method that quantizes leaves norms and embeddings as they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Split = Literal["tensor", "kv", "experts", "vocab", "none"]
"""How ranks share a weight: over tensor ranks; the same, but at most one KV head each; experts over tensor x data;
the vocabulary, padded to 64; or every rank has all of it."""


@dataclass(frozen=True)
class Weight:
    """`count` matrices of `rows` (outputs) x `columns` (inputs) parameters.

    `linear`: a method of quantization takes it, unless the checkpoint leaves it out. `dtype`: what it is stored as
    whatever the rest is ("float32", "uint8"); None: the type of the model.
    """

    name: str
    rows: int
    columns: int
    count: int = 1
    split: Split = "tensor"
    linear: bool = True
    dtype: str | None = None

    @property
    def parameters(self) -> int:
        """How many numbers it holds over all ranks."""
        return self.count * self.rows * self.columns


@dataclass(frozen=True)
class Anatomy:
    """The weights of each decoder layer, in order, and those outside of them.

    Equal layers share one tuple, so that their bytes are counted once. `outside`: embeddings, head, norms, the tower
    of another modality, what guesses tokens.
    """

    layers: tuple[tuple[Weight, ...], ...]
    outside: tuple[Weight, ...]

    @property
    def parameters(self) -> int:
        """All parameters of the model."""
        return parameters(self.outside) + sum(parameters(layer) for layer in self.layers)


def parameters(weights: Iterable[Weight]) -> int:
    """Return how many numbers these weights hold together."""
    return sum(weight.parameters for weight in weights)
