"""The autoscaler's decision: settings, state and signals in; replicas, numbers, a sentence and the next state. Pure.

    D        rate of work, from the routers' counters                                               demand.py
    speed    what a replica can do, begun with the fit planner's estimate, learned from queues        capacity.py
             and from how much slower answers come while engines do more                        slowdown.py
    need     replicas for D, for its fluctuation, and for what waits already                        need.py
    hold     the stabilisation window: chosen from what the past would have needed                  hindsight.py
    floor    more than there are, while requests find no room, whatever the above says                saturation.py
    ahead    D + trend x cold start, where demand certainly grows                                   demand.trend
    wanted   = max(need(ahead), highest need of the last `hold` seconds, floor), up to whole replicas
    busy     what requests under way occupy: not taken away                                           busy.py
    asked    = wanted within least..most, up at most so much a step, down at most so much a minute, and either only
               where it is by 5 % of what is asked for: chance about a whole number moves nothing;
               nothing is given up within a cold start after the last raise                            limits.py

What is asked for is a total: replicas that start count as there, so that a need is never answered twice; those that
cannot be scheduled count too, and do not keep the others from coming and going. It never goes down while demand is
missing, nor before it has watched for `hold` seconds without a gap: not after a restart, nor after the clock jumped.
More demand never makes it ask for less: what the past teaches is taken from before this look.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from manta_operator.scaling import capacity, demand, hindsight, objective, saturation, words
from manta_operator.scaling.believable import believable
from manta_operator.scaling.limits import limited
from manta_operator.scaling.need import Scale, smoothed
from manta_operator.scaling.settings import Settings
from manta_operator.scaling.signals import Signals
from manta_operator.scaling.state import BIN_SECONDS, Look, State

KEPT_SECONDS = 10.0
"""For how long an engine counts as it was seen last: looks that are older are missing (reading.py)."""


@dataclass(frozen=True)
class Decision:
    """`replicas` to ask for, `reason` as a sentence, and the `numbers` it was made from (replicas, seconds, shares).

    `because`: one word for the reason, a key of words.py.
    """

    replicas: int
    reason: str
    numbers: Mapping[str, float]
    because: str


def decide(settings: Settings, state: State, signals: Signals) -> tuple[Decision, State]:
    """Return how many replicas there should be, and what to remember until the next decision. Never raises."""
    signals = believable(signals, state.now)
    looks = _looks(state, signals)
    signals = replace(signals, engines={name: engine for name, (_, engine) in looks.items()})
    cold_start = settings.estimate.cold_start if signals.cold_start is None else signals.cold_start
    held = _with_hold(settings, state, signals.now, cold_start)
    seen = _look(settings, held, signals, looks)
    scale = _scale(settings, seen, cold_start)
    now, past = _needs(settings, seen, signals, scale)
    found = limited(settings, seen, signals, now, past)
    numbers = {
        "load": scale.load(scale.rate(seen.bins)),
        "need": now,
        "held": past,
        "speed": seen.capacity.speed,
        "grain": scale.grain,
        "shown": seen.capacity.shown,
        "pressure": seen.capacity.pressure,
        "margin": seen.margin,
        "hold": seen.hold or 0.0,
        "window": seen.window,
        "share": seen.share,
        "coldStart": cold_start,
        "asked": float(signals.replicas.asked),
        "ready": float(signals.replicas.ready),
        "starting": float(signals.replicas.starting),
        "unschedulable": float(signals.replicas.unschedulable),
        "waiting": float(saturation.waiting(signals)),
    }
    rounded = {name: round(value, 3) for name, value in numbers.items()}
    reason = words.sentence(found, rounded, signals, settings)
    return Decision(found.replicas, reason, rounded, found.because), found.state


def _looks(state: State, signals: Signals) -> dict[str, Look]:
    """Return the last look at each engine, and when: one that is missing now and then is still there."""
    now, ready = signals.now, signals.replicas.ready
    kept = {name: (at, engine) for name, (at, engine) in state.engines.items() if 0 <= now - at <= KEPT_SECONDS}
    missing = [name for name in kept if name not in signals.engines][: max(0, ready - len(signals.engines))]
    return {name: kept[name] for name in missing} | {name: (now, engine) for name, engine in signals.engines.items()}


def _look(settings: Settings, state: State, signals: Signals, looks: Mapping[str, Look]) -> State:
    """Take in what the routers and the engines say."""
    if signals.demand is not None:
        state = demand.making(state, signals.demand, signals.now, looks, settings.fresh_seconds)
        state = demand.observe(state, signals.demand, signals.now, settings.estimate, settings.fresh_seconds)
    if not saturation.contradicted(signals):
        _, token = demand.each(state, settings.estimate)
        before = {name: look for name, look in state.engines.items() if signals.now - look[0] <= settings.fresh_seconds}
        learned = capacity.learn(state.capacity, before, looks, token, settings.estimate)
        state = replace(objective.adapt(settings.target, state, signals), capacity=learned)
    return saturation.watch(replace(state, engines=looks), signals, settings.estimate.sequences)


def _scale(settings: Settings, state: State, cold_start: float) -> Scale:
    grain = demand.grain(state.ticks)
    return Scale(settings.target, state.capacity.speed, grain, state.margin, cold_start, state.window, state.share)


def _needs(settings: Settings, state: State, signals: Signals, scale: Scale) -> tuple[float, float]:
    """Return the replicas needed now, and the most that were needed within the window."""
    work, _ = demand.each(state, settings.estimate)
    queue = scale.queue(saturation.waiting(signals), work)
    if not state.bins:
        return queue, 0.0
    rate = scale.rate(state.bins)
    if settings.predict:
        rate += demand.trend(state.bins, scale.cold_start)
    now = scale.need(rate) + queue
    first = signals.now - (state.hold or 0.0) - 2 * BIN_SECONDS
    known = [each for each in state.bins if each.at >= first - scale.window and each.seconds >= BIN_SECONDS - 1e-6]
    rates = zip(known, smoothed(known, scale.window), strict=True)
    return now, max((scale.kept(rate) for each, rate in rates if each.at >= first), default=0.0)


def _with_hold(settings: Settings, state: State, now: float, cold_start: float) -> State:
    """Choose the window anew every five minutes, from what is known before this look."""
    if settings.behaviour.hold is not None:
        return replace(state, hold=settings.behaviour.hold, held_at=now)
    fresh = state.held_at is not None and 0 <= now - state.held_at < hindsight.EVERY_SECONDS
    if state.hold is not None and (fresh or settings.least == settings.most or not state.bins):
        return state
    scale = _scale(settings, state, cold_start)
    chosen = hindsight.choose(state.bins, scale, predicts=settings.predict, before=state.hold)
    at = now if state.hold is not None else now - hindsight.phase(state.demand)
    return replace(state, hold=chosen.hold, window=chosen.window, share=chosen.share, held_at=at)
