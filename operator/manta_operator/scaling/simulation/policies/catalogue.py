"""Every policy by its name, with the targets that the peers need. Pure but for what the policies remember.

The peers aim at requests in flight for each replica, which nobody can know beforehand. To be fair they get what a
replica has in flight when it is 75 % full of this very trace, measured in the simulator: better than their defaults
(100 requests for KubeAI and in AIBrix's samples). The queue's target of 5 is what guides of vLLM on Kubernetes say.
"""

from collections.abc import Mapping
from dataclasses import replace

from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.fixed import fixed
from manta_operator.scaling.simulation.policies.hpa import hpa_concurrency, hpa_queue
from manta_operator.scaling.simulation.policies.kpa import kpa
from manta_operator.scaling.simulation.policies.kubeai import kubeai
from manta_operator.scaling.simulation.policies.manta import manta
from manta_operator.scaling.simulation.policies.saturation import saturation
from manta_operator.scaling.simulation.run import Make, run
from manta_operator.scaling.simulation.trace import Request, Trace

NAMES = (
    "manta",
    "hpa-concurrency",
    "hpa-queue",
    "aibrix-kpa",
    "kubeai",
    "llm-d-saturation",
    "fixed-mean",
    "fixed-peak",
)
_QUEUE = 5.0
_FULL = 0.75
_SAMPLE = 2000
_REPLICAS = 8


def policies(trace: Trace, setup: Setup, mean: float, peak: float) -> Mapping[str, Make]:
    """Return the makers by name.

    Args:
        trace: For the peers' target.
        setup: Engine and bounds.
        mean: Replicas that the trace's work fills on average.
        peak: And in its busiest minute.
    """
    target = concurrency(trace, setup)
    made = (
        manta(), hpa_concurrency(target), hpa_queue(_QUEUE), kpa(target), kubeai(target), saturation(),
        fixed(max(1, round(mean / _FULL))), fixed(max(1, round(peak / _FULL))),
    )  # fmt: skip
    return dict(zip(NAMES, made, strict=True))


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
