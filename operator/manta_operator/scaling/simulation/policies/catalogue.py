"""Every policy by its name, with the targets that the peers need. Pure but for what the policies remember.

Most peers aim at something for each replica, which somebody has to choose. Each has two rows:

    NAME        the target that a careful user would take beforehand: requests in flight as measured in the simulator
                on a replica that this very trace keeps 75 % full, evenly (samples say 100); waiting requests 5, as
                guides of vLLM on Kubernetes say, but of an engine's own, which is never given many to wait, 1
    NAME-best   the best of a sweep on the requests that are judged, known afterwards only: of multiples of that target
                the one with the fewest GPU-hours that keeps the objective, else the one that is nearest to it
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.fixed import fixed
from manta_operator.scaling.simulation.policies.hpa import (
    hpa_concurrency,
    hpa_external_concurrency,
    hpa_external_queue,
    hpa_queue,
)
from manta_operator.scaling.simulation.policies.knative import knative
from manta_operator.scaling.simulation.policies.kpa import kpa
from manta_operator.scaling.simulation.policies.kubeai import kubeai
from manta_operator.scaling.simulation.policies.manta import manta
from manta_operator.scaling.simulation.policies.saturation import saturation
from manta_operator.scaling.simulation.run import Make, run
from manta_operator.scaling.simulation.trace import Request, Trace

_CONCURRENCY: Mapping[str, Callable[[float], Make]] = {
    "hpa-concurrency": hpa_concurrency,
    "hpa-external-concurrency": hpa_external_concurrency,
    "knative-kpa": knative,
    "aibrix-kpa": kpa,
    "kubeai": kubeai,
}
_QUEUES: Mapping[str, tuple[Callable[[float], Make], float]] = {
    "hpa-queue": (hpa_queue, 1.0),
    "hpa-external-queue": (hpa_external_queue, 5.0),
}
BEST = "-best"
"""What is appended to the name of a peer whose target is the best of a sweep."""
SWEEP = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
"""Multiples of the target that are tried."""
PLAIN = ("manta", *_CONCURRENCY, *_QUEUES, "llm-d-saturation", "fixed-mean", "fixed-peak")
SWEPT = tuple(f"{name}{BEST}" for name in (*_CONCURRENCY, *_QUEUES))
NAMES = tuple(each for name in PLAIN for each in (name, f"{name}{BEST}") if each in (*PLAIN, *SWEPT))
_FULL = 0.75
_SAMPLE = 2000
_REPLICAS = 8


def policies(trace: Trace, setup: Setup, mean: float, peak: float) -> Mapping[str, Make]:
    """Return the makers of PLAIN by name.

    Args:
        trace: For the peers' target.
        setup: Engine and bounds.
        mean: Replicas that the trace's work fills on average.
        peak: And in its busiest minute.
    """
    made: dict[str, Make] = {"manta": manta(), "llm-d-saturation": saturation()}
    made |= {name: fixed(max(1, round(size / _FULL))) for name, size in (("fixed-mean", mean), ("fixed-peak", peak))}
    target = concurrency(trace, setup)
    made |= {name: peer(name, target) for name in (*_CONCURRENCY, *_QUEUES)}
    return {name: made[name] for name in PLAIN}


def peer(name: str, concurrent: float, times: float = 1.0) -> Make:
    """Return the maker of a peer that has a target, at so many times that.

    Args:
        name: One of SWEPT, without BEST.
        concurrent: What `concurrency` says.
        times: Of SWEEP.
    """
    if name in _QUEUES:
        make, target = _QUEUES[name]
        return make(target * times)
    return _CONCURRENCY[name](concurrent * times)


def concurrency(trace: Trace, setup: Setup) -> float:
    """Return the mean requests in flight of a replica that is 75 % full, of requests drawn evenly from the trace."""
    if not trace:
        return 1.0
    sample = trace[:: max(1, len(trace) // _SAMPLE)]
    work = sum(setup.model.work(request) for request in sample)
    seconds = work / (_FULL * _REPLICAS)
    even = [Request(seconds * i / len(sample), r.prompt_tokens, r.output_tokens) for i, r in enumerate(sample)]
    fair = replace(setup, initial=_REPLICAS, least=1, most=_REPLICAS, places=_REPLICAS)
    outcome = run(tuple(even), fixed(_REPLICAS), fair)
    inside = sum(job.ended - job.request.at for job in outcome.jobs if job.ended >= 0)
    return max(1.0, inside / max(seconds, 1e-9) / _REPLICAS)
