"""One trace made ready for every policy: as large as wanted, with a past before it. Pure."""

from dataclasses import dataclass

from manta_operator.scaling.simulation import synthetic
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.trace import MOST_REQUESTS, Trace, TraceError, copies, rates, with_past

_MINUTE = 60.0


@dataclass(frozen=True)
class Scene:
    """`trace` counts from `begin` (s) on. `mean`, `peak`: replicas its work fills, and in the busiest minute.

    `times`: how many requests there are for each of the trace. `refused`: of the trace, those that no engine can hold.
    """

    name: str
    trace: Trace
    begin: float
    mean: float
    peak: float
    times: float
    refused: int = 0

    @property
    def seconds(self) -> float:
        """How long it lasts, without the past."""
        return self.trace[-1].at - self.begin

    @property
    def requests(self) -> int:
        """How many come, without the past."""
        return sum(request.at >= self.begin for request in self.trace)


def made_up(kind: str, model: EngineModel, *, peak: float, seed: int, seconds: float = 7200.0) -> Trace:
    """Return a synthetic trace of about the size that `make` makes of it: copies are not as random as arrivals."""
    some = synthetic.make(kind, rate=1.0, seconds=seconds, seed=seed)
    work = sum(model.work(request) for request in some) / len(some)
    return synthetic.make(kind, rate=peak / work, seconds=seconds, seed=seed)


def make(
    name: str,
    trace: Trace,
    model: EngineModel,
    *,
    peak: float | None = None,
    times: float = 1.0,
    past: float = 0.0,
    split: bool = False,
    seed: int = 1,
) -> Scene:
    """Scale a trace, and put a past before it. Raises TraceError where nothing of it fits, or too much would.

    Args:
        name: Of the trace, for messages.
        trace: As it was recorded.
        model: What its work is measured with.
        peak: Replicas that its busiest minute should fill; None: `times` says how large it becomes.
        times: Requests for each of the trace.
        past: Seconds of past to put before it, in whole minutes.
        split: In its place the trace's own first `past` seconds, at most half of it: what comes then is judged.
        seed: Of all chance.
    """
    fitting = tuple(request for request in trace if model.fits(request))
    if not fitting:
        raise TraceError(f"{name}: no request fits in the {model.kv_tokens} tokens of an engine's cache")
    if fitting[-1].at < _MINUTE:
        raise TraceError(f"{name}: its requests come within {fitting[-1].at:.0f} s: give at least a minute of them")
    load = rates(fitting, model.work, _MINUTE, fitting[-1].at)
    if peak is not None:
        times = peak / max(load)
    scaled = _grown(name, fitting, times, seed)
    whole, begin = _own_past(scaled, past) if split else with_past(scaled, past, seed)
    mean, highest = sum(load) / len(load) * times, max(load) * times
    return Scene(name, whole, begin, mean, highest, times, len(trace) - len(fitting))


def _grown(name: str, trace: Trace, times: float, seed: int) -> Trace:
    if times * len(trace) > MOST_REQUESTS:
        raise TraceError(
            f"{name}: {times:.3g} times its {len(trace)} requests are more than the {MOST_REQUESTS} that a "
            "simulation takes: ask for fewer, or give a part of the trace"
        )
    scaled = copies(trace, times, seed)
    if not scaled:
        raise TraceError(f"{name}: {times:.3g} times its {len(trace)} requests are none: ask for more")
    return scaled


def _own_past(trace: Trace, seconds: float) -> tuple[Trace, float]:
    return trace, min(seconds, trace[-1].at / 2) // _MINUTE * _MINUTE
