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


_BITS = 64


@dataclass(frozen=True)
class Stored:
    """How a quantized matrix is stored.

    `bits` of one parameter; one scale of `scale` bytes for each block of `rows` x `columns` parameters (0: as many as
    there are), and `zero` bits more for its zero point. `at_load`: the engine quantizes it, no checkpoint has it so.
    Raises ValueError for bits and blocks that no matrix has.
    """

    bits: int
    scale: int = 0
    rows: int = 1
    columns: int = 0
    zero: int = 0
    at_load: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.bits <= _BITS or min(self.scale, self.rows, self.columns, self.zero) < 0:
            raise ValueError(f"{self.bits} bits a parameter in blocks of {self.rows} x {self.columns}")

    def size(self, rows: float, columns: float) -> float:
        """Bytes of a matrix of `rows` x `columns`; they may be shares of whole ones."""
        down = max(1.0, rows / self.rows) if self.rows else 1.0
        across = max(1.0, columns / self.columns) if self.columns else 1.0
        return rows * columns * self.bits / 8 + down * across * (self.scale + self.zero / 8)


@dataclass(frozen=True)
class Weight:
    """`count` matrices of `rows` (outputs) x `columns` (inputs) parameters.

    `linear`: a method of quantization takes it, unless the checkpoint leaves it out. `dtype`: what it is stored as
    whatever the rest is ("float32", "uint8"); None: the type of the model. `stored`: how the checkpoint has quantized
    it. `ways`: at most so many ranks share it (KV heads; 0: as many as there are). `inner`: ranks cut its columns.
    `step`: kernels for quantized experts want slices of a multiple of so many (0: of as many as all others).
    `made`: the engine makes it while it loads; no checkpoint has it and no parameter is counted for it.
    """

    name: str
    rows: int
    columns: int
    count: int = 1
    split: Split = "tensor"
    linear: bool = True
    dtype: str | None = None
    stored: Stored | None = None
    ways: int = 0
    inner: bool = False
    made: bool = False
    step: int = 0

    @property
    def parameters(self) -> int:
        """How many numbers the checkpoint holds of it."""
        return 0 if self.made else self.count * self.rows * self.columns


@dataclass(frozen=True)
class Anatomy:
    """The weights of each decoder layer, in order, and those outside of them.

    Equal layers share one tuple, so that their bytes are counted once. `outside`: embeddings, head, norms, the tower
    of another modality. `guesses`: what the model itself brings to guess tokens (MTP), loaded only where it is asked
    for. `spread`: how far the bytes may be off, as a share: what the configuration does not say.
    """

    layers: tuple[tuple[Weight, ...], ...]
    outside: tuple[Weight, ...]
    guesses: tuple[Weight, ...] = ()
    spread: float = 0.01

    @property
    def parameters(self) -> int:
        """All parameters of the model, without what guesses tokens."""
        return parameters(self.outside) + sum(parameters(layer) for layer in self.layers)


def parameters(weights: Iterable[Weight]) -> int:
    """Return how many numbers these weights hold together."""
    return sum(weight.parameters for weight in weights)


def vector(name: str, size: int, dtype: str | None = None) -> Weight:
    """Return what every rank has whole and nothing quantizes: a norm."""
    return Weight(name, size, 1, split="none", linear=False, dtype=dtype)


def sliced(name: str, size: int, dtype: str | None = None, count: int = 1) -> Weight:
    """Return numbers that ranks share and nothing quantizes: biases, states, convolutions."""
    return Weight(name, size, 1, count=count, linear=False, dtype=dtype)
