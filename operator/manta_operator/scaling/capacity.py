"""What a replica can do, learned from what the engines do: a factor on the fit planner's estimate. Pure.

    served     = work of the tokens (demand.py), a second and replica                                 1: as estimated
    pressure   = share of the engines in which requests waited at both of two looks
    full       = what these engines served
    speed     += weight x (full - speed);  weight: 0 up to a pressure of 1/50; from 1/4 on all of it, in 30 s of each
    speed     >= served
    speed     -> hope, half of the way in an hour without a queue
    hope      = the most that was ever served or shown by a queue (a pressure of 1/4, until it is below 1/50); half-way
                to speed after each queue that shows less

An engine that has requests waiting is at its limit, and its throughput is its capacity; where only some have, the
capacity lies between that and what is believed. One that has none shows a lower bound. What was estimated is begun with
a fifth off: a queue is dearer than an idle replica, and rooflines promise too much. It never drifts above that by
itself to see whether more can be had: with long answers, too full shows in slow tokens before anything waits. So an
estimate that is too high is dear until queues have shown it, and one that is too low costs idle replicas
(docs/benchmarks.md: how much). But minutes in which everything was slow do not count for ever: what could be done
before may be done again, and each queue that says otherwise halves the hope. What was only estimated is no hope.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from manta_operator.scaling.settings import Estimate
from manta_operator.scaling.signals import EngineSignals

_CALM, _FULL = 0.02, 0.25
"""Pressure below which queues are chance, and above which the replicas are full."""

_FULL_SECONDS, _PRESSURE_SECONDS, _SERVED_SECONDS = 30.0, 30.0, 180.0
"""Over how long queues show the capacity, and what is served without them its lower bound."""

_RANGE = (0.1, 10.0)
_HOPE_SECONDS = 3600.0
"""In which half of the way back is gone."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What is known: `speed`, the factor; `served` and `pressure`: means of the last minutes.

    `hope`: what a speed that fell goes back to; `queued`: whether a queue is under way that shows the speed.
    """

    speed: float = 0.8
    served: float = 0.0
    pressure: float = 0.0
    hope: float = 0.0
    queued: bool = False


def work(before: EngineSignals, now: EngineSignals, token: float, estimate: Estimate) -> float | None:
    """Return the work an engine did between two looks (s of a replica as estimated); None where that is not known.

    It is not of an engine that counts no tokens, nor of one that started anew.
    """
    prompt = _since(before.prompt_tokens, now.prompt_tokens)
    generated = _since(before.generated_tokens, now.generated_tokens)
    if prompt is None or generated is None:
        return None
    return prompt * token + estimate.answers(generated)


def _since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None or now < before else now - before


def learn(
    known: Capacity,
    before: Mapping[str, tuple[float, EngineSignals]],
    now: Mapping[str, tuple[float, EngineSignals]],
    token: float,
    estimate: Estimate,
) -> Capacity:
    """Return what is known after one more look.

    Args:
        known: Before it.
        before: The engines as they were seen last: when (s), and what they said.
        now: The same after this look; those that were not seen again teach nothing.
        token: Work of a prompt's mean token (s of a replica).
        estimate: What the work is measured in.
    """
    pairs = [(before[name], look) for name, look in now.items() if name in before and look[0] > before[name][0]]
    done = [
        (work(then, engine, token, estimate), at - since, min(then.waiting, engine.waiting) > 0)
        for (since, then), (at, engine) in pairs
    ]
    seen = [(amount / seconds, waits) for amount, seconds, waits in done if amount is not None]
    if not seen:
        return known
    seconds = sum(seconds for _, seconds, _ in done) / len(done)
    share = min(1.0, seconds / _SERVED_SECONDS)
    mean = sum(rate for rate, _ in seen) / len(seen)
    served = known.served + share * (mean - known.served)
    full = [rate for rate, waits in seen if waits]
    part = len(full) / len(seen)
    pressure = known.pressure + min(1.0, seconds / _PRESSURE_SECONDS) * (part - known.pressure)
    weight = min(1.0, max(0.0, pressure - _CALM) / (_FULL - _CALM)) * min(1.0, part * seconds / _FULL_SECONDS)
    speed = max(served, known.speed + weight * (sum(full) / len(full) - known.speed) if full else known.speed)
    shown, hope, queued = _hope(replace(known, speed=speed, served=served), pressure, seconds)
    return Capacity(min(_RANGE[1], max(_RANGE[0], shown)), served, pressure, hope, queued)


def _hope(known: Capacity, pressure: float, seconds: float) -> tuple[float, float, bool]:
    """Return the speed on its way back, what it goes to, and whether a queue is under way."""
    speed, hope = known.speed, max(known.hope, known.served)
    if pressure >= (_CALM if known.queued else _FULL):
        return speed, hope, True
    if known.queued:
        hope = max(speed, (hope + speed) / 2)
    if pressure < _CALM and speed < hope:
        speed = hope - (hope - speed) * 0.5 ** (seconds / _HOPE_SECONDS)
    return speed, hope, False
