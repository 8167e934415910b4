"""The condition Autoscaled, and what the others say where replicas follow the demand. Pure; `conditions.py` asks.

    True     Following        the replicas follow the demand
             AtMost           more are needed than maxReplicas allows
             Asleep           none, since nobody asks: the next request starts one
    False    InternalError    a fault of the operator keeps it from deciding
             SignalsMissing   routers cannot be read
             NoRoom           replicas wait for a place
             RolloutPaused    more are needed, and a rollout whose new replicas do not serve starts none
             SecondOwner      somebody writes spec.replicas, which is not followed
             TurnedOff        spec.autoscaling was left out, and more replicas stay for a while than spec.replicas says
    Unknown  NotPlanned       the spec cannot be planned: the number stays
             EnginesSilent    no engine tells what it does, so nothing is learned of them
             Watching         nothing was decided yet, or no router serves: Available says so

Ready does not wait for replicas that the autoscaler adds or takes away, as long as minReplicas of them serve: they
come and go by design, and nobody is to be paged for it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from manta_operator.planning.autoscale_off import TURNED_OFF, advice
from manta_operator.planning.autoscale_status import Scaling
from manta_operator.planning.rollout_words import Decision
from manta_operator.planning.situation import Condition, Situation

_SHOWN = 3
_REST = "the others go on coming and going with the demand"
_REPORT = "this is a fault of the operator: please report its log; to go on without the autoscaler,"
_OLD = "the image of their picker is older than the operator and tells of no demand: set spec.router.image to its own"
_MUTE = (
    "but no engine tells how much it does, so what a replica can do stays as estimated, right or wrong: leave "
    "--disable-log-stats out of spec.engine.args; for an engine that is no vLLM, choose minReplicas with room to spare"
)
_PORT = "look at these pods, and whether NetworkPolicies let the operator reach their port 9002"


def autoscaled(situation: Situation) -> Condition | None:
    """Judge the autoscaler; None where spec.replicas rules."""
    scaling = situation.scaling
    if scaling is None:
        return None
    if scaling.off:
        return Condition("Autoscaled", "False", TURNED_OFF, str(scaling.told.get("message", "")))
    if found := tuple(_wrong(scaling, situation)):
        return replace(found[0], message="; besides, ".join(each.message for each in found))
    said = str(scaling.told.get("message", ""))
    if scaling.blind:
        message = f"no router serves, so nobody tells of the demand: {_stay(situation.replicas)} until one does"
        return Condition("Autoscaled", "Unknown", "Watching", message)
    if situation.plan is None:
        message = (
            f"{_stay(situation.replicas)}, whatever the demand: nothing would follow until the spec can be planned"
        )
        return Condition("Autoscaled", "Unknown", "NotPlanned", message)
    if situation.replicas == 0:
        return Condition("Autoscaled", "True", "Asleep", f"no replica, since nobody asks: {held(scaling)}")
    if not scaling.decided:
        return Condition("Autoscaled", "Unknown", "Watching", f"{_count(situation.replicas)} for now; {said}")
    if scaling.told.get("reason") == "AtMost":
        return Condition("Autoscaled", "True", "AtMost", _at_most(scaling))
    if scaling.mute:
        return Condition("Autoscaled", "Unknown", "EnginesSilent", f"{said}; {_MUTE}")
    return Condition("Autoscaled", "True", "Following", said)


def _wrong(scaling: Scaling, situation: Situation) -> Iterator[Condition]:
    """Yield what is wrong, the most urgent first."""
    if scaling.fault:
        stay = f"{_stay(situation.replicas)}, since deciding fails: {scaling.fault}; {_REPORT}"
        yield Condition("Autoscaled", "False", "InternalError", f"{stay} {advice(situation.replicas)}")
    if scaling.missing or (scaling.blind and situation.observed.router_ready):
        yield Condition("Autoscaled", "False", "SignalsMissing", _missing(scaling, situation.replicas))
    if scaling.unschedulable:
        yield Condition("Autoscaled", "False", "NoRoom", _no_room(scaling, situation))
    if stuck := _paused(situation):
        yield Condition("Autoscaled", "False", "RolloutPaused", stuck)
    if scaling.owner is not None:
        yield Condition("Autoscaled", "False", "SecondOwner", _second_owner(scaling.owner, situation.replicas))


def decisions(scaling: Scaling | None) -> tuple[Decision, ...]:
    """Return what `status.decisions` says of the autoscaler: the sentence of status.autoscaling, which holds still."""
    said = str(scaling.told.get("message", "")) if scaling else ""
    return (Decision("Autoscaled", said),) if said else ()


def waking(situation: Situation) -> str | None:
    """Return what becomes of requests while the first replica starts again; None where it does not."""
    scaling, groups = situation.scaling, situation.observed.groups
    if scaling is None or not situation.replicas or any(group.ready or group.served for group in groups):
        return None
    last: Any = next(iter(scaling.told.get("changes") or ()), {})
    return held(scaling) if last.get("fromReplicas") == 0 else None


def held(scaling: Scaling) -> str:
    """Return what becomes of requests that come while nothing serves."""
    bound = f" for up to {scaling.hold_seconds} s" if scaling.hold_seconds else ""
    return f"requests wait in the router{bound} until the first replica serves"


def enough(situation: Situation) -> bool:
    """Whether as many serve as must, and all that is not settled is what the autoscaler adds or takes away."""
    scaling, plan = situation.scaling, situation.plan
    if scaling is None or plan is None or plan.rollout.state not in ("settled", "starting", "scaling"):
        return False
    needed = min(situation.replicas, max(1, scaling.least))
    harmless = all(trouble.waits and not trouble.spent for trouble in plan.troubles)
    return harmless and situation.observed.ready_groups(plan.revision) >= needed


def serving(situation: Situation) -> Condition:
    """Say that Ready holds while replicas come and go."""
    ready, asked = situation.observed.ready_groups(), situation.replicas
    if ready >= asked:
        return Condition("Ready", "True", "AllServing", f"{_count(asked)} and the router serve")
    message = f"{ready} of {_count(asked)} and the router serve; the autoscaler has asked for {asked - ready} more"
    return Condition("Ready", "True", "ScalingUp", message)


def _missing(scaling: Scaling, replicas: int) -> str:
    names = ", ".join(scaling.missing[:_SHOWN]) or "none answers"
    more = f" and {len(scaling.missing) - _SHOWN} more" if len(scaling.missing) > _SHOWN else ""
    since = f" since {scaling.missing_since}" if scaling.missing_since else ""
    if scaling.blind and not replicas:
        done = f"no router can be read{since} ({names}{more}), so that no request starts a replica until one can"
    elif scaling.blind:
        done = (
            f"no router can be read{since} ({names}{more}), and missing demand is not zero demand: {_stay(replicas)}, "
            "and more are started only while requests wait in every engine"
        )
    else:
        done = (
            f"some routers cannot be read{since} ({names}{more}): what the others see may add replicas, "
            "and none is taken away"
        )
    return f"{done}; {_OLD if scaling.old and set(scaling.old) == set(scaling.missing) else _PORT}"


def _no_room(scaling: Scaling, situation: Situation) -> str:
    waits, asked = scaling.unschedulable, situation.replicas
    said = next((pod.problem for pod in situation.observed.pods if pod.unschedulable_since and pod.problem), None)
    why = f" ({said})" if said else ""
    verb = "waits" if waits == 1 else "wait"
    lower = max(scaling.least, asked - waits)
    remedy = f", or set spec.autoscaling.maxReplicas to {lower}" if lower else ""
    return f"{waits} of {_count(asked)} {verb} for a place{why}; free accelerators or add nodes{remedy}; {_REST}"


def _paused(situation: Situation) -> str:
    """Return what is missing while a rollout is paused and starts nothing; empty: nothing is."""
    plan, asked = situation.plan, situation.replicas
    if plan is None or plan.rollout.state != "paused":
        return ""
    rollout = plan.rollout
    if rollout.new_ready or asked <= rollout.new + rollout.old:
        return ""
    return (
        f"{_count(asked)} are asked for and {rollout.old_ready} serve, but the rollout of revision {plan.revision} is "
        "paused and starts none, since its replicas do not serve: mend what the condition Degraded says of them, or "
        "apply the former spec"
    )


def _second_owner(manager: str, replicas: int) -> str:
    return (
        f"{manager} has written spec.replicas by the scale subresource, and spec.autoscaling does not follow it: "
        "remove the HorizontalPodAutoscaler, ScaledObject or script behind it; or, to have it rule, "
        f"{advice(replicas)}; until then the demand rules"
    )


def _at_most(scaling: Scaling) -> str:
    needed = (scaling.told.get("numbers") or {}).get("need")
    wants = f"{needed:.1f} replicas are needed" if needed is not None and needed > scaling.most else "more are needed"
    return f"{wants}, and spec.autoscaling.maxReplicas allows {scaling.most}: raise it, or requests wait"


def _count(number: int) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"


def _stay(number: int) -> str:
    return "1 replica stays" if number == 1 else f"{number} replicas stay"
