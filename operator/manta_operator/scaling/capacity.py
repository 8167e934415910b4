"""What a replica can do, learned from what the engines do: a factor on the fit planner's estimate. Pure.

    served     = work of the tokens (demand.py), a second and replica                                 1: as estimated
    pressure   = share of the engines in which requests waited at both of two looks
    full       = what these engines served
    speed     += weight x (full - speed);  weight: 0 up to a pressure of 1/50; from 1/4 on all of it, in 30 s of each
    speed     >= served
    shown      = the speed that slower answers show, where that is sure                            slowdown.py
    speed     -> the least of shown, bound, and half as much again as was seen; in two minutes half of the way
    bound      = half-way from what was believed to what a queue shows, at its end; twice as much after a day of work
    speed     -> hope, where nothing is shown; half of the way in an hour without a queue
    hope      = the most that was ever served or shown by a queue (a pressure of 1/4, until it is below 1/50); half-way
                to speed after each queue that shows less; where something is shown, what the speed goes to

An engine that has requests waiting is at its limit, and its throughput is its capacity; where only some have, the
capacity lies between that and what is believed. One that has none shows a lower bound, and by how slow its answers
are, about how far it is from its limit: so estimates that are too high are found before a queue, and ones that are too
low by getting nearer step by step. What was estimated is begun with a fifth off: a queue is dearer than an idle
replica, and rooflines promise too much. Where answers do not become slower it never drifts above that by itself.
Minutes in which everything was slow do not count for ever: what could be done before may be done again, and each queue
that says otherwise halves the hope. What was only estimated is no hope.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from manta_operator.scaling import slowdown
from manta_operator.scaling.settings import Estimate
from manta_operator.scaling.signals import EngineSignals
from manta_operator.scaling.slowdown import Line

_CALM, _FULL = 0.02, 0.25
"""Pressure below which queues are chance, and above which the replicas are full."""

_FULL_SECONDS, _PRESSURE_SECONDS, _SERVED_SECONDS = 30.0, 30.0, 180.0
"""Over how long queues show the capacity, and what is served without them its lower bound."""

_RANGE = (0.1, 10.0)
_HOPE_SECONDS = 3600.0
"""In which half of the way back is gone."""

_SHOWN_SECONDS, _SURE, _STEP = 120.0, 0.5, 1.5
"""The same, of the way to what slower answers show; how sure it must be; how far beyond what was seen it may go."""

_BOUND_SECONDS = 86_400.0
"""Of work: in which what queues showed may have doubled."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What is known: `speed`, the factor; `served` and `pressure`: means of the last minutes.

    `hope`: what a speed that fell goes back to; `queued`: whether a queue is under way that shows the speed. `line`:
    how answers become slower; `shown`: the speed that it shows, 0 for none; `bound`: how much of it queues bear out.
    """

    speed: float = 0.8
    served: float = 0.0
    pressure: float = 0.0
    hope: float = 0.0
    queued: bool = False
    line: Line = field(default_factory=Line)
    shown: float = 0.0
    bound: float = _RANGE[1]


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
    fresh = {name: look for name, look in now.items() if name not in before or look[0] > before[name][0]}
    if not fresh:
        return known
    moment = max(at for at, _ in fresh.values())
    known = replace(known, line=slowdown.observe(known.line, fresh, token, estimate, moment))
    pairs = [(before[name], look) for name, look in fresh.items() if name in before]
    done = [
        (work(then, engine, token, estimate), at - since, min(then.waiting, engine.waiting) > 0)
        for (since, then), (at, engine) in pairs
    ]
    seen = [(amount / seconds, waits) for amount, seconds, waits in done if amount is not None]
    if not seen:
        return known
    seconds = sum(seconds for _, seconds, _ in done) / len(done)
    return _after(_queues(known, seen, seconds), moment, seconds, estimate)


def _queues(known: Capacity, seen: Sequence[tuple[float, bool]], seconds: float) -> Capacity:
    """Take in what each engine did a second, and whether requests waited there."""
    share = min(1.0, seconds / _SERVED_SECONDS)
    mean = sum(rate for rate, _ in seen) / len(seen)
    served = known.served + share * (mean - known.served)
    full = [rate for rate, waits in seen if waits]
    part = len(full) / len(seen)
    pressure = known.pressure + min(1.0, seconds / _PRESSURE_SECONDS) * (part - known.pressure)
    weight = min(1.0, max(0.0, pressure - _CALM) / (_FULL - _CALM)) * min(1.0, part * seconds / _FULL_SECONDS)
    speed = max(served, known.speed + weight * (sum(full) / len(full) - known.speed) if full else known.speed)
    return replace(known, speed=speed, served=served, pressure=pressure)


def _after(known: Capacity, now: float, seconds: float, estimate: Estimate) -> Capacity:
    """Move the speed to where it belongs; while requests wait only down: how far up it goes they show themselves."""
    shown = slowdown.capacity(known.line, estimate.sequences, now)
    sure = shown.sure >= _SURE
    known = replace(known, hope=max(known.hope, known.served), shown=shown.speed if sure else 0.0)
    if known.pressure >= (_CALM if known.queued else _FULL):
        known = replace(known, queued=True)
    elif known.queued:
        known = _taught(known)
    if sure:
        near = max(known.speed, _STEP * shown.seen)
        goal, half = max(known.served, min(shown.speed, known.bound, near)), _SHOWN_SECONDS
        known = replace(known, hope=goal if not known.queued else known.hope)
    else:
        goal, half = max(known.hope, known.speed), _HOPE_SECONDS
    if known.pressure >= _CALM and goal > known.speed:
        return _bounded(known)
    worked = seconds if known.served > known.speed / 2 and not known.queued else 0.0
    bound = min(_RANGE[1], known.bound * 2 ** (worked / _BOUND_SECONDS))
    return _bounded(replace(known, bound=bound, speed=goal + (known.speed - goal) * 0.5 ** (seconds / half)))


def _taught(known: Capacity) -> Capacity:
    """A queue has ended: what was believed comes half-way to what it showed, its speed of now."""
    believed = max(known.speed, min(known.bound, max(known.hope, known.shown)))
    hope = max(known.speed, (known.hope + known.speed) / 2)
    return replace(known, queued=False, hope=hope, bound=(believed + known.speed) / 2)


def _bounded(known: Capacity) -> Capacity:
    return replace(known, speed=min(_RANGE[1], max(_RANGE[0], known.speed)))
