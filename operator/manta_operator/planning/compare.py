"""One model on every kind of accelerator: does it fit, on how many, what does it hold, how fast, at what price. Pure.

For each kind the split is left open, whatever the spec says of its own: how many are needed is the question. Data ranks
and experts stay as they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import OTHER
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import engine_checks
from manta_operator.planning.choice import Choice
from manta_operator.planning.kinds import Kind
from manta_operator.planning.patches import Patch, patched
from manta_operator.planning.roofline import Performance, estimate
from manta_operator.planning.shape import DEVICES_PER_NODE
from manta_operator.planning.walk import walk

_ORDER = {"True": 0, "Unknown": 1, "False": 2}


@dataclass(frozen=True)
class Row:
    """What comes of one kind. `why` says why it does not fit, or what is not known."""

    kind: Kind
    fits: str
    why: str
    choice: Choice | None = None
    performance: Performance | None = None
    asked: bool = False
    """It is the kind that the spec names."""

    @property
    def accelerators(self) -> int | None:
        """How many one replica takes."""
        return self.choice.shape.ranks if self.choice else None

    @property
    def per_hour(self) -> float | None:
        """What one replica costs for an hour; None where no price is known."""
        each = self.kind.accelerator.per_hour
        return each * self.choice.shape.ranks if self.choice and each is not None else None

    @property
    def enough(self) -> bool:
        """Whether the cluster has as many, free or not."""
        kind = self.kind
        there = kind.nodes is None or kind.per_node is None
        return there or not self.choice or self.choice.shape.ranks <= (kind.nodes or 0) * (kind.per_node or 0)


def compare(
    spec: LLMDeploymentSpec,
    facts: ModelFacts | None,
    kinds: Iterable[Kind],
) -> tuple[Row, ...]:
    """Return a row for each kind: first those that fit, of these the cheapest, then what has no price, by their number.

    Args:
        spec: What is asked for; of its accelerator and its split only the KV cache, the context and so on count.
        facts: What the checkpoint says.
        kinds: What to compare.
    """
    rows = [_row(spec, facts, kind) for kind in kinds]
    return tuple(sorted(rows, key=_rank))


def _rank(row: Row) -> tuple[float, ...]:
    price = row.per_hour
    cost = (row.accelerators or 0) if price is None else price
    return (_ORDER[row.fits], not row.enough, price is None, cost, row.kind.accelerator.memory_bytes or 0)


def _row(spec: LLMDeploymentSpec, facts: ModelFacts | None, kind: Kind) -> Row:
    asked = spec.accelerator.type == kind.accelerator.type and spec.accelerator.type != OTHER
    moved = patched(spec, _moved(kind))
    if refused := engine_checks.problems(moved, facts, kind.accelerator):
        return Row(kind, "False", str(refused[0]), asked=asked)
    found = walk(moved, facts, kind.accelerator, node=kind.per_node or DEVICES_PER_NODE)
    if not isinstance(found, Choice):
        return Row(kind, "False", found.best.fit.message if found.best else str(found.problem), asked=asked)
    speed = estimate(moved, found.shape, kind.accelerator, facts, found.fit)
    row = Row(kind, found.fit.fits, "" if found.fit.fits == "True" else found.fit.message, found, speed, asked)
    if row.enough:
        return row
    has = (kind.nodes or 0) * (kind.per_node or 0)
    return replace(row, why=f"a replica takes {found.shape.ranks} of them, and the cluster has {has}")


def _moved(kind: Kind) -> Patch:
    """Return what makes a spec one for this kind, with its split left open."""
    accelerator = kind.accelerator
    own = accelerator.type == OTHER
    named = {
        "type": accelerator.type,
        "resource": accelerator.resource if own else None,
        "memory": str(accelerator.memory_bytes) if own and accelerator.memory_bytes else None,
        "perPod": None,
    }
    return {"accelerator": named, "parallelism": {"tensor": None, "pipeline": None}, "engine": {"executor": None}}
