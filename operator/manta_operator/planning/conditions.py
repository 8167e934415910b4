"""The conditions of an LLMDeployment: an ordered list of small checks over what was gathered before. Pure.

    Planned         the spec can be served, as far as can be known before a pod starts
    ModelAvailable  the checkpoint can be had: the operator has read it, or a replica serves it
    Reconciled      the API server has taken everything the plan asks for
    Progressing     the cluster is on its way to what the plan asks for
    Available       clients get answers: a router and at least one replica serve
    Degraded        something is broken that waiting will not mend
    Integrated      what other projects were to do is set up (only where it is asked for)
    EngineAsPlanned the engines are what was asked for, by their own word (once they have said it)
    AdaptersLoaded  every replica answers for every adapter (only where there are any; Ready does not depend on it)
    Autoscaled      the replicas follow the demand (only with spec.autoscaling; Ready does not depend on it)
    Ready           everything asked for serves, at the newest revision

Types are adjectives, reasons one CamelCase word, messages sentences with numbers (Kubernetes API conventions).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from manta_operator.api import names
from manta_operator.planning import engine_facts
from manta_operator.planning.adapters import verdict
from manta_operator.planning.autoscale_condition import autoscaled, enough, held, serving, waking
from manta_operator.planning.ends import ended
from manta_operator.planning.fetching import fetching
from manta_operator.planning.health import FAILING_RESTARTS
from manta_operator.planning.integrations import INFERENCE_POOL
from manta_operator.planning.last_words import cannot_fetch, too_old
from manta_operator.planning.observe import Observed
from manta_operator.planning.planned import GOES_ON, planned
from manta_operator.planning.problems import Failure
from manta_operator.planning.situation import Condition, Situation

__all__ = ["MESSAGE_LIMIT", "Condition", "Situation", "conditions", "merge"]

_SHOWN = 3
"""How many of several like things a message names."""
MESSAGE_LIMIT = 4096
"""Characters of a message that are kept."""
_CHECK_THE_MODEL = "check spec.model.uri, revision, credentialsSecret and cache"
_CHECK_THE_DRAFT = "check spec.engine.speculative.model, and spec.model.cache"
_RENEW_THE_IMAGE = (
    "spec.engine.image is older than the operator, and its runtime fetches no weights: "
    "name the image of manta/runtime that belongs to the operator"
)
_TOO_LATE = "ProgressDeadlineExceeded"


def conditions(situation: Situation) -> tuple[Condition, ...]:
    """Judge the situation, one condition a check, in the order they are read by people."""
    judged = [condition for check in _CHECKS if (condition := check(situation)) is not None]
    return (*judged, _ready(situation, judged))


def _model_available(situation: Situation) -> Condition:
    """A replica of another revision is no witness: the model may be what the rollout changes.

    While one is fetched for the first replica, Ready says how far that is, too.
    """
    if situation.model_error:
        return Condition("ModelAvailable", "False", "Unreadable", situation.model_error)
    plan = situation.plan
    if plan and situation.observed.ready_groups(plan.revision):
        return Condition("ModelAvailable", "True", "Serving", "a replica has loaded the model and serves it")
    unfetched = [pod for pod in situation.observed.pods if pod.problem and cannot_fetch(pod.problem)]
    if unfetched:
        said = "; ".join(f"pod {pod.name}: {pod.problem}" for pod in unfetched[:_SHOWN])
        remedy = _CHECK_THE_DRAFT if names.FETCH_DRAFT_CONTAINER in said else _CHECK_THE_MODEL
        remedy = _RENEW_THE_IMAGE if too_old(said) else remedy
        return Condition("ModelAvailable", "False", "NotFetched", f"{said}; {remedy}")
    if said := fetching(situation.observed.pods):
        return Condition("ModelAvailable", "Unknown", "Fetching", said)
    if situation.model_read:
        return Condition("ModelAvailable", "True", "Read", "the operator has read the checkpoint's config.json")
    message = "the operator cannot see the checkpoint from here, and no replica of this revision has loaded it yet"
    return Condition("ModelAvailable", "Unknown", "NotSeen", message)


def _reconciled(situation: Situation) -> Condition:
    if situation.failures:
        first = min(situation.failures, key=_urgency)
        said = _some([failure.message for failure in sorted(situation.failures, key=_urgency)])
        when = f"; next try at {situation.next_try}" if situation.next_try else ""
        return Condition("Reconciled", "False", first.reason, f"{said}{when}")
    if situation.plan is None:
        return Condition("Reconciled", "Unknown", "NotPlanned", "nothing is written until the spec can be planned")
    return Condition("Reconciled", "True", "Written", "the API server has taken everything the plan asks for")


_URGENCY = ("NotOwned", "Forbidden", "InvalidObject", "Missing")


def _urgency(failure: Failure) -> int:
    """Order failures: first what a person has to mend, last what passes by itself."""
    return _URGENCY.index(failure.reason) if failure.reason in _URGENCY else len(_URGENCY)


def _progressing(situation: Situation) -> Condition:
    if situation.plan is None:
        return Condition("Progressing", "False", "NotPlanned", "nothing is changed until the spec can be planned")
    rollout = situation.plan.rollout
    moves = rollout.state in ("starting", "scaling", "rolling") and rollout.reason != _TOO_LATE
    message = _with_pod_problems(rollout.message, situation.observed)
    return Condition("Progressing", "True" if moves else "False", rollout.reason, message)


def _available(situation: Situation) -> Condition:
    serve, routers = situation.observed.ready_groups(), situation.observed.router_ready
    if serve and routers:
        said = f"{_count(serve, 'replica')} and {_count(routers, 'router')} serve"
        return Condition("Available", "True", "Serving", said)
    if situation.replicas == 0 and not serve:
        return Condition("Available", "False", "ScaledToZero", _asleep(situation, "0 replicas are asked for"))
    if routers and (wakes := waking(situation)):
        message = _with_pod_problems(f"no replica serves yet; {wakes}", situation.observed)
        return Condition("Available", "False", "Waking", message)
    missing = "no replica serves" if routers else "no router serves" if serve else "no replica and no router serve"
    return Condition("Available", "False", "NotServing", _with_pod_problems(missing, situation.observed))


def _asleep(situation: Situation, said: str) -> str:
    return f"{said}; {held(situation.scaling)}" if situation.scaling else said


def _degraded(situation: Situation) -> Condition:
    plan = situation.plan
    spent = [trouble for trouble in plan.troubles if trouble.spent] if plan else []
    if spent:
        said = _some([f"replica {trouble.group}: {trouble.message}" for trouble in spent])
        remedy = f"mend the cause; to try again, delete StatefulSet {spent[0].group} or change the spec"
        return Condition("Degraded", "True", "RestartsSpent", f"{said}; {remedy}")
    if plan and (plan.rollout.state == "paused" or plan.rollout.reason == _TOO_LATE) and not enough(situation):
        back = ", or roll back by applying the former spec" if plan.rollout.state == "paused" else ""
        message = _with_pod_problems(plan.rollout.message, situation.observed)
        return Condition("Degraded", "True", plan.rollout.reason, f"{message}; mend what the pods say{back}")
    lost = [pod for group in situation.observed.groups for pod in group.members if pod.lost]
    if lost:
        said = _some([f"pod {pod.name} is on node {pod.node}, which is lost" for pod in lost])
        return Condition("Degraded", "True", "NodeLost", f"{said}; its replica is to be replaced; look at the node")
    if said := _some(_failing_helpers(situation.observed)):
        remedy = f"see the log of container {names.ADAPTERS_CONTAINER}; the engine is left alone"
        return Condition("Degraded", "True", "HelperFailing", f"{said}; {remedy}")
    return Condition("Degraded", "False", "Sound", "nothing is broken that waiting will not mend")


def _failing_helpers(observed: Observed) -> list[str]:
    """Say of which pods only the container beside the engine keeps the requests away, and ends again and again."""
    return [
        f"pod {pod.name} gets no requests, although its engine is ready: "
        f"container {names.ADAPTERS_CONTAINER} ended {pod.helper_ended} times"
        for pod in observed.pods
        if not pod.ready and not pod.deleting and (pod.helper_ended or 0) >= FAILING_RESTARTS
    ]


def _integrated(situation: Situation) -> Condition | None:
    """Say nothing where nothing was asked for."""
    if not situation.integrations:
        return None
    failures = [entry.failure for entry in situation.integrations if entry.failure]
    if failures:
        return Condition("Integrated", "False", failures[0].reason, _some([failure.message for failure in failures]))
    kinds = " and ".join(entry.kind for entry in situation.integrations)
    return Condition("Integrated", "True", "Written", f"the API server has taken the {kinds}")


def _adapters_loaded(situation: Situation) -> Condition | None:
    """Say nothing where none is wanted. Ready does not look here: the model serves without them."""
    if not situation.adapters:
        return None
    found = verdict(situation.adapters)
    return Condition("AdaptersLoaded", found.status, found.reason, found.message)


def _engine_as_planned(situation: Situation) -> Condition | None:
    """Say nothing until an engine has said what it chose."""
    if situation.plan is None or situation.engines is None:
        return None
    status, reason, message = engine_facts.verdict(situation.plan, situation.engines)
    return Condition("EngineAsPlanned", status, reason, message)


_CHECKS: tuple[Callable[[Situation], Condition | None], ...] = (
    planned,
    _model_available,
    _reconciled,
    _progressing,
    _available,
    _degraded,
    _integrated,
    _engine_as_planned,
    _adapters_loaded,
    autoscaled,
)


def _ready(situation: Situation, judged: Iterable[Condition]) -> Condition:
    """Give the first cause why not everything serves, in the words of the condition that knows it."""
    by_type = {condition.type: condition for condition in judged}
    for kind, blocks in _BLOCKS_READY:
        if blocks(by_type[kind]) and not (kind == "Progressing" and enough(situation)):
            wakes = by_type[kind].reason == "Starting" and by_type["Available"].reason == "Waking"
            found = by_type["Available" if wakes else kind]
            return Condition("Ready", "False", found.reason, found.message)
    if (unready := _router_unready(situation)) is not None:
        return unready
    if situation.replicas == 0:
        said = _asleep(situation, "0 replicas are asked for, and the router answers")
        return Condition("Ready", "True", "ScaledToZero", said)
    if situation.scaling is not None:
        return serving(situation)
    every = f"{'all ' if situation.replicas > 1 else ''}{_count(situation.replicas, 'replica')}"
    return Condition("Ready", "True", "AllServing", f"{every} and the router serve")


def _router_unready(situation: Situation) -> Condition | None:
    """Without its InferencePool no gateway finds the routers, however ready they are."""
    observed = situation.observed
    for entry in situation.integrations:
        if entry.kind == INFERENCE_POOL.kind and entry.failure:
            return Condition("Ready", "False", entry.failure.reason, entry.failure.message)
    serving = observed.ready_routers(situation.router) if situation.router else observed.router_ready
    if serving >= situation.router_replicas:
        return None
    message = f"{serving} of {situation.router_replicas} routers serve"
    if before := observed.router_ready - serving:
        message += f"; {_count(before, 'router')} of the other spec.router.mode will go when all of them do"
    return Condition("Ready", "False", "RouterNotReady", message)


_BLOCKS_READY: tuple[tuple[str, Callable[[Condition], bool]], ...] = (
    ("Planned", lambda condition: condition.status != "True" and condition.reason not in GOES_ON),
    ("ModelAvailable", lambda condition: condition.status == "False"),
    ("Reconciled", lambda condition: condition.status != "True"),
    ("Degraded", lambda condition: condition.status == "True"),
    ("ModelAvailable", lambda condition: condition.reason == "Fetching"),
    ("Progressing", lambda condition: condition.reason != "Settled"),
)


def _with_pod_problems(text: str, observed: Observed) -> str:
    problems = [f"pod {pod.name}: {pod.problem}" for pod in observed.pods if pod.problem and pod.problem not in text]
    again = [sentence for pod in observed.pods if (sentence := ended(pod))]
    return "; ".join([text, *[*problems, *again][:_SHOWN]])


def _some(sentences: list[str]) -> str:
    """Join the first few sentences, and count the others."""
    more = len(sentences) - _SHOWN
    return "; ".join([*sentences[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def merge(
    new: Iterable[Condition], old: Iterable[Mapping[str, Any]], generation: int, now: str
) -> list[dict[str, Any]]:
    """Return the conditions as they stand in the status; `lastTransitionTime` moves only when the status does.

    Args:
        new: What was judged now.
        old: What the status says.
        generation: metadata.generation that was judged.
        now: RFC 3339 time in UTC, seconds.
    """
    before = {entry.get("type"): entry for entry in old}
    return [_entry(condition, before.get(condition.type), generation, now) for condition in new]


def _entry(condition: Condition, before: Mapping[str, Any] | None, generation: int, now: str) -> dict[str, Any]:
    unchanged = before is not None and before.get("status") == condition.status
    since = before.get("lastTransitionTime") if before is not None and unchanged else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }
