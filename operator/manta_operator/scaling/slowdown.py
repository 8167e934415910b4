"""What a replica can do, from how much slower each answer comes while it does more: without ever being full. Pure.

    v      = generated / running                    tokens a second of each sequence, over half a minute of an engine
    w      = its work a second in that time                                both twice the mean at most    capacity.py
    v      = A - B w                                least squares over all engines, a window weighs half after 30 min
    stand  = A / B                                  the work at which sequences would come to a stand
    room   = places x A / (G + places x B)          the work whose sequences fill the engine: w G / v of them, where
                                                    G = tokens generated for a second of work
    places = the least of max_num_seqs and what the KV cache holds, by what a sequence takes of it on average
    speed  = the least of 0.9 stand and room
    seen   = mean of w + 2 standard deviations
    sure   = 0..1: enough windows, a slope well above its error, and a twentieth to a seventh of `stand` seen

Every step of an engine costs something fixed and a part for the work of all that share it. In a second there is time
for (1 - w / stand) / fixed steps, and a sequence gets a token from each: processor sharing, with a line for a law
(Kleinrock, "Time-shared systems: a theoretical treatment", 1967). Where steps cost nothing more until they are full it
is a bend, and the line promises too much: capacity.py goes there in steps from what was seen, and believes queues more.
A mixture of prompts and answers that changes with the load, or prefix hits that do, tilt it by as much as the estimate
weighs the two wrongly. Windows in which requests waited are left out: there queues say it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from manta_operator.scaling.settings import Estimate
from manta_operator.scaling.signals import EngineSignals

WINDOW_SECONDS = 30.0
_LONGEST = 3 * WINDOW_SECONDS
_HALF_SECONDS = 1800.0
_FULL = 0.9
"""Of `stand`: what is left there is a tenth of the speed that an answer has alone."""

LEAST_RUNNING, LEAST_WORK, MOST_WORK = 0.5, 0.02, 10.0
"""Below the first two an engine is idle, and what it says of tokens is chance; above the last no speed is believed."""

_WAITED = 0.25
"""Share of the looks at which requests waited, from which on a window tells of a queue."""

_FAR, _SOME = 2.0, 10.0
"""Both count up to so many times the mean, once there are some windows: one odd engine moves little."""

_ENOUGH = 40.0
"""Windows from which on the line counts; twice as many for all of it."""

_ERROR = (0.3, 0.1)
"""Relative errors of the slope: no use, as good as exact."""

_ALIKE = 4.0
"""So many windows count as one in the error: neighbours in time are alike."""

_REACH = (0.05, 0.15)
"""Shares of `stand` that must have been seen."""

_ALL_ALIKE = 1e-4
"""Variance of the work over its square, below which all windows show the same, and a slope is rounding."""


@dataclass(frozen=True, slots=True)
class Window:
    """Half a minute of an engine as far as it has come: counters when it began, and sums over `looks`.

    `waited`: looks at which requests did.
    """

    at: float
    prompt: float
    generated: float
    running: float = 0.0
    kv_usage: float = 0.0
    looks: int = 0
    waited: int = 0


class Sums(NamedTuple):
    """Over windows, the old ones weighing less: how many, work and tokens a second of a sequence, and their products.

    `generated`: tokens a second of the engine.
    """

    number: float = 0.0
    work: float = 0.0
    rate: float = 0.0
    work_squared: float = 0.0
    product: float = 0.0
    rate_squared: float = 0.0
    generated: float = 0.0
    running: float = 0.0
    kv_usage: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """What all windows showed until `at` (s), the last of them. `windows`: under way, by engine."""

    sums: Sums = field(default_factory=Sums)
    at: float = 0.0
    windows: Mapping[str, Window] = field(default_factory=dict)


class Shown(NamedTuple):
    """The speed as a factor on the estimate, how sure it is (0..1), and the most work a second that was seen."""

    speed: float = 0.0
    sure: float = 0.0
    seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One window that has ended: what it did, and how fast each sequence was."""

    work: float
    generated: float
    running: float
    kv_usage: float


def observe(
    line: Line, looks: Mapping[str, tuple[float, EngineSignals]], token: float, estimate: Estimate, now: float
) -> Line:
    """Return the line after one more look.

    Args:
        line: Before it.
        looks: At the engines that were seen now: when (s), and what they said.
        token: Work of a prompt's mean token (s of a replica).
        estimate: What the work is measured in.
        now: Of this look (s).
    """
    windows = {name: each for name, each in line.windows.items() if 0 <= now - each.at < _LONGEST}
    points = []
    for name, (at, engine) in looks.items():
        window, point = _next(line.windows.get(name), at, engine, token, estimate)
        if window is not None:
            windows[name] = window
        else:
            windows.pop(name, None)
        if point is not None:
            points.append(point)
    return _added(line, points, windows, now) if points else replace(line, windows=windows)


def capacity(line: Line, sequences: int | None, now: float) -> Shown:
    """Return what the line shows of a replica; nothing but zeros where it shows nothing.

    Args:
        line: After some looks.
        sequences: That the engine computes at once; None: not known.
        now: When it is asked (s): what was long ago is less sure.
    """
    sums = line.sums
    number = sums.number * _kept(line, now)
    if number <= _ENOUGH:
        return Shown()
    work, rate = sums.work / sums.number, sums.rate / sums.number
    spread = sums.work_squared / sums.number - work * work
    fall = work * rate - sums.product / sums.number
    if spread <= _ALL_ALIKE * work * work or fall <= 0:
        return Shown()
    slope, seen = fall / spread, work + 2 * math.sqrt(spread)
    alone = rate + slope * work
    rest = max(0.0, sums.rate_squared / sums.number - rate * rate - slope * fall)
    error = math.sqrt(rest / spread / max(1.0, number / _ALIKE - 2)) / slope
    stand = alone / slope
    sure = _between(error, *_ERROR) * _between(seen / stand, *_REACH) * min(1.0, number / _ENOUGH - 1)
    cached = sums.running / sums.kv_usage if sums.kv_usage > 0 else math.inf
    places = min(cached, math.inf if sequences is None else sequences)
    room = math.inf if places == math.inf else places * alone / (sums.generated / sums.work + places * slope)
    return Shown(min(_FULL * stand, room), sure, seen)


def _kept(line: Line, now: float) -> float:
    """Return the share of the sums that still counts."""
    return float(0.5 ** (max(0.0, now - line.at) / _HALF_SECONDS))


def _next(
    window: Window | None, at: float, engine: EngineSignals, token: float, estimate: Estimate
) -> tuple[Window | None, Point | None]:
    """Return the window of an engine after one more look, and what the one that has ended with it shows."""
    prompt, generated = engine.prompt_tokens, engine.generated_tokens
    if prompt is None or generated is None:
        return None, None
    fresh = Window(at, prompt, generated)
    if window is None or prompt < window.prompt or generated < window.generated or not 0 <= at - window.at < _LONGEST:
        return fresh, None
    sums = window.running + engine.running, window.kv_usage + engine.kv_usage
    looks, waited, seconds = window.looks + 1, window.waited + (engine.waiting > 0), at - window.at
    if seconds < WINDOW_SECONDS:
        return Window(window.at, window.prompt, window.generated, *sums, looks, waited), None
    done = prompt - window.prompt, generated - window.generated
    work = (done[0] * token + estimate.answers(done[1])) / seconds
    running, kv_usage = (each / looks for each in sums)
    if waited > _WAITED * looks or running < LEAST_RUNNING or not LEAST_WORK <= work <= MOST_WORK:
        return fresh, None
    return fresh, Point(work, done[1] / seconds, running, kv_usage)


def _added(line: Line, points: Sequence[Point], windows: Mapping[str, Window], now: float) -> Line:
    kept = _kept(line, now)
    sums = Sums(*(kept * each for each in line.sums))
    known = sums.number >= _SOME
    most_work, most_rate = (_FAR * each / sums.number if known else math.inf for each in (sums.work, sums.rate))
    for point in points:
        work, rate = min(most_work, point.work), min(most_rate, point.generated / point.running)
        more = (1.0, work, rate, work * work, work * rate, rate * rate, point.generated, point.running, point.kv_usage)
        sums = Sums(*(total + each for total, each in zip(sums, more, strict=True)))
    return Line(sums, now, windows)


def _between(value: float, none: float, all_of_it: float) -> float:
    """Return 0 at `none`, 1 at `all_of_it`, and in proportion between."""
    return min(1.0, max(0.0, (value - none) / (all_of_it - none)))
