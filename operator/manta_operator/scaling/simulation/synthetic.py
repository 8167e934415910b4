"""Traces made up for what the real ones lack: a day, a ramp, steps, spikes, bursts, idle hours, wandering. Pure.

Arrivals are Poisson with the rate of a shape, lengths log-normal. Rates are in requests a second of a shape whose
highest is 1; `copies` and the engine make them large.
"""

import math
import random
from collections.abc import Callable, Mapping

from manta_operator.scaling.simulation.trace import Request, Trace

_WANDER_STEP = 10.0
"""Seconds for which a wandering rate stays the same."""

Shape = Callable[[float, float, random.Random], float]
"""Rate at a moment of so many seconds in all; 0..1."""


def _diurnal(at: float, length: float, _: random.Random) -> float:
    return 0.55 - 0.45 * math.cos(2 * math.pi * 2 * at / length)


def _ramp(at: float, length: float, _: random.Random) -> float:
    return 0.1 + 0.9 * min(at, length - at) / (length / 2)


def _step(at: float, length: float, _: random.Random) -> float:
    return 1.0 if length / 3 <= at < 2 * length / 3 else 0.3


def _spike(at: float, length: float, _: random.Random) -> float:
    return 1.0 if at % (length / 3) < 90 else 0.25


def _idle(at: float, length: float, _: random.Random) -> float:
    return 0.6 if at % (length / 3) < length / 8 else 0.0


def _bursts() -> Shape:
    """Stretches of some minutes each, quiet and busy in turn, all of random length and height."""
    edges: list[tuple[float, float]] = []

    def rate(at: float, length: float, chance: random.Random) -> float:
        if not edges:
            when, busy = 0.0, False
            while when <= length:
                edges.append((when, chance.uniform(0.4, 1.0) if busy else chance.uniform(0.05, 0.2)))
                when += chance.expovariate(1 / (180 if busy else 300))
                busy = not busy
        return next(height for start, height in reversed(edges) if start <= at)

    return rate


def _wander() -> Shape:
    """About steady, as many users together are: a random walk back to the middle in ten minutes, and rare surges."""
    rates: list[float] = []

    def rate(at: float, length: float, chance: random.Random) -> float:
        if not rates:
            level, surge = 0.0, 0.0
            for _ in range(math.ceil(length / _WANDER_STEP) + 1):
                level += chance.gauss(0.0, 0.06) - level * _WANDER_STEP / 600
                surge = 0.5 if chance.random() < _WANDER_STEP / 1800 else surge * math.exp(-_WANDER_STEP / 120)
                rates.append(min(1.0, 0.5 * math.exp(level) + 0.4 * surge))
        return rates[int(at / _WANDER_STEP)]

    return rate


SHAPES: Mapping[str, Callable[[], Shape]] = {
    "diurnal": lambda: _diurnal,
    "ramp": lambda: _ramp,
    "step": lambda: _step,
    "spike": lambda: _spike,
    "bursts": _bursts,
    "idle": lambda: _idle,
    "wander": _wander,
}


def make(
    kind: str, *, rate: float, seconds: float = 7200.0, seed: int = 1, prompt: int = 1500, output: int = 150
) -> Trace:
    """Return a trace.

    Args:
        kind: One of SHAPES.
        rate: Requests a second where the shape is highest.
        seconds: Length.
        seed: Of all chance.
        prompt: Median of the prompts (tokens).
        output: Median of the answers (tokens).
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation that must be repeatable
    shape = SHAPES[kind]()
    found: list[Request] = []
    at = 0.0
    while True:
        at += chance.expovariate(rate)
        if at > seconds:
            return tuple(found)
        if chance.random() < shape(at, seconds, chance):
            lengths = (max(1, round(median * chance.lognormvariate(0.0, 0.8))) for median in (prompt, output))
            found.append(Request(at, *lengths))
