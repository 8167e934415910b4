"""What the planner decided of a replica, and what it tried before: values. Pure."""

from dataclasses import dataclass

from manta_operator.facts.accelerators import Accelerator
from manta_operator.planning.fit import Fit
from manta_operator.planning.shape import Shape


@dataclass(frozen=True)
class Rejected:
    """A shape that was tried and is not taken, and why, in a sentence."""

    shape: Shape
    why: str

    def __str__(self) -> str:
        return f"{self.shape.cut}: {self.why}"


@dataclass(frozen=True)
class Choice:
    """The shape of a replica and its verdict."""

    shape: Shape
    fit: Fit
    advice: str = ""
    """What would do better, in a sentence."""
    rejected: tuple[Rejected, ...] = ()
    """What was tried before, smallest first."""
    measured: bool = False
    """Remembered: an engine of this choice has reported what it holds, so it fits whatever is predicted now."""
    accelerator: Accelerator | None = None
    """What its pods ask for."""
    revision: str = ""
    """Remembered: the revision of the pods that were made of it, or would have been."""
    started: bool = False
    """Remembered: pods were made of it."""
    unchanged: bool = True
    """Remembered: nothing of the spec that the fit depends on has changed since."""
