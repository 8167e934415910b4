"""How the load of a scenario changes: requests a second at a second of the scenario. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Shape:
    """A load by its corners, (second, requests a second); straight lines between them, the last rate after the last.

    `peak`: replicas that should be seen at least; `end`: those that should be left, some time after it.
    """

    name: str
    corners: Sequence[tuple[float, float]]
    peak: int
    end: int

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.corners[-1][0]

    def rate(self, second: float) -> float:
        """Return the requests a second at that second."""
        for (begin, low), (end, high) in pairwise(self.corners):
            if begin <= second < end:
                return low + (high - low) * (second - begin) / (end - begin)
        return self.corners[-1][1]


def steps(*parts: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """Corners of a load that jumps: (seconds, rate) of each part."""
    corners: list[tuple[float, float]] = []
    second = 0.0
    for seconds, rate in parts:
        corners += [(second, rate), (second + seconds, rate)]
        second += seconds
    return tuple(corners)


SHAPES = (
    Shape("step", steps((30, 0.4), (70, 4.0), (5, 0.4)), peak=3, end=1),
    Shape("ramp", ((0, 0.4), (20, 0.4), (110, 4.0), (130, 4.0), (131, 0.4)), peak=3, end=1),
    Shape("spike", steps((20, 0.4), (12, 8.0), (60, 0.4)), peak=2, end=1),
)
