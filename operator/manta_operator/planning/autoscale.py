"""Between an LLMDeployment and the autoscaler that decides about it: what it is told, and how many are asked for. Pure.

    begin, asking      the number of replicas that everything else is handed
    settings, state    spec.autoscaling and the planner's estimate; what a restarted operator still knows
    replicas           how many of those there are serve, start, or wait for a place
    second_owner       who else writes the number
    watched            how long starts take here, as the last ones did          autoscale_starts.py
    told               status.autoscaling                                       autoscale_status.py
    stepping           the same after spec.autoscaling was left out             autoscale_off.py
    condition          Autoscaled                                               autoscale_condition.py

Estimate of a replica that computes requests of p prompt tokens and a answer tokens at its limit (roofline.py):

    filled   = seconds of the replica that a prompt takes, of these pairs x p^2 / 2 for its attention
    decode   = a / (a / together - filled)                        so that both add up to what it does all together
    prefill  = p / (filled - pairs x p^2 / 2)

Where no estimate can be had the round figures below stand in: learning corrects them between a tenth and ten times
(scaling/capacity.py), and until then maxReplicas bounds what a wrong one costs.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.api.models import LLMDeployment, LLMDeploymentSpec
from manta_operator.planning.autoscale_status import Learned, Scaling, told
from manta_operator.planning.observe_pods import seconds
from manta_operator.planning.observed import Observed
from manta_operator.planning.rollout_limits import stuck_at
from manta_operator.planning.roofline import FIRST_OVERHEAD, Performance
from manta_operator.scaling.capacity import Capacity
from manta_operator.scaling.settings import Behaviour, Estimate, Settings, Target
from manta_operator.scaling.signals import Replicas
from manta_operator.scaling.state import State

__all__ = [
    "Learned",
    "Scaling",
    "asking",
    "begin",
    "replicas",
    "second_owner",
    "settings",
    "state",
    "told",
    "with_replicas",
]

COLD_START_SECONDS = 120.0
"""A start before any was seen: weights of a few gigabytes from a disk beside, compiled kernels from a cache."""
PREFILL, DECODE = 10_000.0, 2_000.0
"""Tokens of prompts and of answers a second, each alone, of a replica that nothing is known of: a model of 8 * 10^9
parameters on one accelerator of today is about there."""
PREFILL_CPU, DECODE_CPU = 1_000.0, 200.0
"""The same on cpu."""
_SPEEDS = (0.1, 10.0)
"""Between what a speed may be remembered: what learning can come to (scaling/capacity.py)."""
_FRESH_INTERVALS = 10
FORGIVEN_SECONDS = 3600.0
"""How long who wrote the number counts as an owner of it: managedFields name an HPA for ever, also one that has gone,
and one that is at work writes again."""
_MOST_FILLED = 0.9
"""Of the time of a request at most, its prompt."""


def begin(deployment: LLMDeployment, status: Mapping[str, Any]) -> int:
    """Return how many replicas are asked for before anything is decided: those of before, else `spec.replicas`.

    Args:
        deployment: As the API server has it.
        status: As it stands; what it says is within minReplicas and maxReplicas afterwards.
    """
    spec = deployment.spec
    if spec.autoscaling is None:
        return spec.replicas
    said = _autoscaling(status).get("replicas")
    number = said if isinstance(said, int) else spec.replicas
    return min(spec.autoscaling.max_replicas, max(spec.autoscaling.min_replicas, number))


def asking(deployment: LLMDeployment, replicas: int) -> LLMDeployment:
    """Return the deployment as if its spec asked for so many; without `spec.autoscaling` the very same."""
    return deployment if deployment.spec.autoscaling is None else with_replicas(deployment, replicas)


def with_replicas(deployment: LLMDeployment, replicas: int) -> LLMDeployment:
    """Return the deployment with `spec.replicas`; the same object where that is what it says."""
    if deployment.spec.replicas == replicas:
        return deployment
    spec = deployment.spec.model_copy(update={"replicas": replicas})
    return deployment.model_copy(update={"spec": spec})


def settings(
    spec: LLMDeploymentSpec, performance: Performance | None, cold_start: float | None, interval: float
) -> Settings:
    """Return what the autoscaler is told once.

    Args:
        spec: With `autoscaling`.
        performance: Of a replica, as planned; None: not known.
        cold_start: As measured (s); None before the first start.
        interval: Between two decisions (s).

    Raises:
        ValueError: the spec has no autoscaling, or (as SettingsError) one that no API server admits.
    """
    wish = spec.autoscaling
    if wish is None:
        raise ValueError("spec.autoscaling is not set: spec.replicas rules")
    behaviour, between = wish.behaviour, wish.target.between_tokens_milliseconds
    return Settings(
        estimate=_estimate(spec, performance, COLD_START_SECONDS if cold_start is None else cold_start),
        least=wish.min_replicas,
        most=wish.max_replicas,
        idle_seconds=float(wish.scale_to_zero.after_seconds),
        interval=interval,
        fresh_seconds=max(Settings.fresh_seconds, _FRESH_INTERVALS * interval),
        target=Target(
            utilisation=wish.target.utilisation_percent / 100,
            first_token=wish.target.first_token_milliseconds / 1000,
            between_tokens=None if between is None else between / 1000,
            objective=wish.target.objective_percent / 100,
            measured=wish.signal == "latency",
        ),
        behaviour=Behaviour(
            up_share=behaviour.up_percent / 100,
            up_count=behaviour.up_replicas,
            down_share=behaviour.down_percent / 100,
            down_seconds=float(behaviour.down_seconds),
            hold=None if behaviour.stabilisation_seconds is None else float(behaviour.stabilisation_seconds),
        ),
    )


def _estimate(spec: LLMDeploymentSpec, performance: Performance | None, start: float) -> Estimate:
    if performance is None:
        on_cpu = spec.accelerator.type == "cpu"
        places = spec.engine.max_num_seqs and spec.engine.max_num_seqs * (spec.parallelism.data or 1)
        return Estimate(*(PREFILL_CPU, DECODE_CPU) if on_cpu else (PREFILL, DECODE), start, sequences=places)
    each, pairs = performance.answer / performance.together.value, performance.prompt**2 / 2
    filled = min(_MOST_FILLED * each, performance.prompt_seconds or performance.first_token.value - FIRST_OVERHEAD)
    pair = min(performance.pair_seconds, filled / 2 / pairs)
    prefill = performance.prompt / (filled - pair * pairs)
    return Estimate(prefill, performance.answer / (each - filled), start, pair, performance.places)


def state(status: Mapping[str, Any]) -> State:
    """Return what a restarted operator knows: how fast replicas are. Demand has to be watched anew."""
    speed = _autoscaling(status).get("speed")
    if not isinstance(speed, int | float) or not speed > 0:
        return State()
    return State(capacity=Capacity(speed=min(_SPEEDS[1], max(_SPEEDS[0], float(speed)))))


def replicas(observed: Observed, revision: str, asked: int) -> Replicas:
    """Count the replicas: those that serve, of whatever revision, and what becomes of the others that are asked for.

    Those that drain are none any more. One that is asked for and not made yet is starting. One is without a place when
    it has waited for one as long as a rollout would (rollout_limits.py): schedulers and quotas need a moment.
    """
    ready = observed.ready_groups()
    missing = max(0, asked - ready)
    waits = (stuck_at(group) for group in observed.groups if group.revision == revision and not group.lost)
    unschedulable = min(missing, sum(moment is not None and moment <= observed.now for moment in waits))
    return Replicas(asked, ready, missing - unschedulable, unschedulable)


def second_owner(metadata: Mapping[str, Any], now: float) -> str | None:
    """Return who else writes the number of replicas, by the scale subresource and lately: the name of a field manager.

    Args:
        metadata: Of the LLMDeployment, with managedFields.
        now: Epoch seconds.
    """
    for entry in metadata.get("managedFields") or ():
        wrote = seconds(entry.get("time"))
        if entry.get("subresource") == "scale" and wrote is not None and now - wrote < FORGIVEN_SECONDS:
            return str(entry.get("manager") or "somebody")
    return None


def _autoscaling(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return status.get("autoscaling") or {}
