"""A number that is not certain: what the arithmetic says, and between which bounds the truth lies. Pure.

Weights, overhead and KV cache are estimates. The bounds hold nine times in ten: start-ups of the same model on the same
machine differ by some percent. That is not enough to refuse a model, which is held to a bound of its own (fit.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its bounds, all of one unit: `low` <= `value` <= `high`."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse bounds that do not hold the value: ValueError."""
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} does not lie between {self.low} and {self.high}")

    @classmethod
    def within(cls, value: float, share: float) -> "Estimate":
        """Return `value` with bounds of `share` of it either way: 0.02 for 2 %."""
        return cls(value, value - abs(value) * share, value + abs(value) * share)

    def __add__(self, other: "Estimate") -> "Estimate":
        """Add both; the bounds add up too, for the causes of the errors are not independent."""
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> "Estimate":
        """Multiply by a number that is certain and not negative."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def left_of(self, whole: float) -> "Estimate":
        """Return what is left of `whole` once this is taken from it."""
        return Estimate(whole - self.value, whole - self.high, whole - self.low)
