"""What a replica can do, learned from what the engines do: a factor on the fit planner's estimate. Pure.

    served     = prompt tokens / prefill rate + answer tokens / decode rate, a second and replica     1: as estimated
    full       requests waited in at least half of the engines, at both looks: what they served is what they can
    not full   what they served is what they can at least

An engine that has requests waiting is at its limit, and its throughput is its capacity; one that has none shows only a
lower bound. So a wrong estimate costs one queue, or some idle replicas until the load has risen once, and no more.
"""

from collections.abc import Mapping

from manta_operator.scaling.settings import Estimate
from manta_operator.scaling.signals import EngineSignals

_SECONDS = 60.0
"""What was learned in this time weighs as much as all before."""

_RANGE = (0.1, 10.0)


def served(before: EngineSignals, now: EngineSignals, estimate: Estimate) -> float | None:
    """Return the work an engine did between two looks (s of a replica as estimated); None where it started anew."""
    prompt = now.prompt_tokens - before.prompt_tokens
    generated = now.generated_tokens - before.generated_tokens
    if prompt < 0 or generated < 0:
        return None
    return prompt / estimate.prefill_tokens_per_s + generated / estimate.decode_tokens_per_s


def learn(
    speed: float,
    mean_served: float,
    before: Mapping[str, EngineSignals],
    now: Mapping[str, EngineSignals],
    seconds: float,
    estimate: Estimate,
) -> tuple[float, float]:
    """Return the factor, and the mean rate served by a replica, after one more look.

    Args:
        speed: The factor as known.
        mean_served: What a replica served lately, a second (1: as much as estimated).
        before: The engines at the last look.
        now: The engines now.
        seconds: Between the two.
        estimate: What the work is measured in.
    """
    both = [(before[name], engine) for name, engine in now.items() if name in before]
    done = [(served(then, engine, estimate), then.waiting and engine.waiting) for then, engine in both]
    known = [(work / seconds, bool(full)) for work, full in done if work is not None]
    if not known:
        return speed, mean_served
    share = min(1.0, seconds / _SECONDS)
    full = [rate for rate, waits in known if waits]
    mean = sum(rate for rate, _ in known) / len(known)
    mean_served += share * (mean - mean_served)
    if 2 * len(full) >= len(known):
        speed += share * (sum(full) / len(full) - speed)
    speed = max(speed, mean_served)
    return min(_RANGE[1], max(_RANGE[0], speed)), mean_served
