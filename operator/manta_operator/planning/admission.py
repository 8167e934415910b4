"""What the admission webhook answers about a write of an LLMDeployment: the planner's verdict beforehand. Pure.

    refused    spec.fit.policy is enforce, and the spec cannot be served: the same sentence as in the condition Planned
    warned     it is not known, too close to call, or started all the same; it was as bad before, or worse; it asks
               for no replica; its kind of accelerator may be in a catalog that has not been read; it leaves out
               spec.autoscaling while more replicas are there than spec.replicas says
    neither    it is being deleted; the spec is as before; what was decided of it stands

An edit is never refused for what it does not change: a deployment that serves although it is predicted not to fit, or
one that was stored while nobody looked, can still be scaled, annotated and deleted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pydantic

from manta_operator.api.models import LLMDeployment, parse
from manta_operator.api.printable import printable
from manta_operator.facts.accelerators import Accelerator, catalog
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.choice import Choice
from manta_operator.planning.fit import Fit
from manta_operator.planning.planned import GOES_ON, chosen, kept, refused
from manta_operator.planning.previous import recall
from manta_operator.planning.problems import Problem
from manta_operator.planning.search import decide
from manta_operator.planning.situation import Condition

WARNING_LIMIT = 256
"""Characters of a warning that API servers pass on in whole."""


@dataclass(frozen=True)
class Answer:
    """Whether the write may go on; why not, for people; and what else they should know."""

    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What is known of the model: facts, None if nobody has any; what is wrong with the checkpoint; accelerators."""

    facts: ModelFacts | None = None
    trouble: str = ""
    why: str = ""
    """Why there are no facts, as far as that is worth a sentence."""
    accelerators: Mapping[str, Accelerator] = field(default_factory=dict)
    unread: str = ""
    """Why the user's catalog has not been read yet, so that there may be more accelerators."""


def wanted(body: Mapping[str, Any], namespace: str = "default") -> LLMDeployment | str:
    """Return the deployment that a body asks for, or why this version of Manta cannot read it.

    Its metadata may be empty: a name that the API server makes up comes later.
    """
    try:
        return parse(
            {"metadata": {"name": "unnamed", "namespace": namespace, **body["metadata"]}, "spec": body["spec"]}
        )
    except (pydantic.ValidationError, KeyError, TypeError, ValueError) as error:
        return str(error)


def is_news(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> bool:
    """Whether a write asks for anything: a finalizer, a label or a deletion is nobody's business here."""
    if (new.get("metadata") or {}).get("deletionTimestamp"):
        return False
    return old is None or new.get("spec") != old.get("spec")


def judge(deployment: LLMDeployment, old: Mapping[str, Any] | None, known: Evidence) -> Answer:
    """Answer about one write that `is_news`.

    Args:
        deployment: What is asked for now.
        old: The object as it stands, with its status; None: it is created.
        known: What is known of the model that is asked for.
    """
    answer = _judged(deployment, old, known)
    return replace(answer, warnings=(*answer.warnings, *_warnings(_left_out(deployment, old))))


def _left_out(deployment: LLMDeployment, old: Mapping[str, Any] | None) -> str:
    """Return what leaving out spec.autoscaling does to the replicas that are there; empty: nothing."""
    there = (((old or {}).get("status") or {}).get("autoscaling") or {}).get("replicas")
    asked = deployment.spec.replicas
    if deployment.spec.autoscaling is not None or not isinstance(there, int) or there <= asked:
        return ""
    return (
        f"without spec.autoscaling the {there} replicas of now go down to spec.replicas, which is {asked}, half of "
        "them each minute: set spec.replicas to what is needed"
    )


def _judged(deployment: LLMDeployment, old: Mapping[str, Any] | None, known: Evidence) -> Answer:
    if known.trouble:
        return Answer(
            True, warnings=_warnings(f"spec.model.uri: {known.trouble}; nothing is started until it is mended")
        )
    decided, condition = _decided(deployment, old, known)
    if isinstance(decided, Choice):
        said = condition.status == "False" or condition.reason in GOES_ON or condition.reason == "ServesAllTheSame"
        why = known.why if condition.reason == "FitUnknown" else ""
        return Answer(True, warnings=_warnings(condition.message if said else "", why, decided.advice))
    if known.unread and deployment.spec.accelerator.type not in catalog(known.accelerators):
        return Answer(True, warnings=_warnings(f"{known.unread}; {condition.message}"))
    none = deployment.spec.replicas == 0 and deployment.spec.autoscaling is None
    idle = condition.reason == "DoesNotFit" and none
    if idle or deployment.spec.fit.policy == "warn" or _was_as_bad(deployment, old, known, condition):
        return Answer(True, warnings=_warnings(condition.message))
    return Answer(False, condition.message)


def _decided(
    deployment: LLMDeployment, old: Mapping[str, Any] | None, known: Evidence
) -> tuple[Choice | tuple[Problem, ...], Condition]:
    status = (old or {}).get("status") or {}
    previous = recall(deployment.spec, status)
    there = bool(status.get("replicas") or status.get("readyReplicas"))
    standing = (
        previous if previous and previous.unchanged and (there or previous.started or previous.measured) else None
    )
    decided = decide(deployment.spec, known.facts, previous, stands=standing is not None, extra=known.accelerators)
    if not isinstance(decided, Choice):
        return standing or decided, kept(refused(decided)) if standing else refused(decided)
    ready = int(status.get("readyReplicas") or 0) if standing else 0
    served = standing is not None and standing.measured
    return decided, chosen(decided.shape, decided.fit, ready, deployment.spec.fit.policy, served=served)


def _was_as_bad(
    deployment: LLMDeployment, old: Mapping[str, Any] | None, known: Evidence, condition: Condition
) -> bool:
    """Whether the object that stands is refused for the same, or lacks no less memory: this makes nothing worse."""
    before = wanted(old) if old is not None else ""
    if isinstance(before, str) or before.spec.model.uri != deployment.spec.model.uri:
        return False  # the facts are of another model
    stood, judged = _decided(before, old, known)
    if isinstance(stood, Choice):
        return False
    if judged.message == condition.message:
        return True
    return judged.reason == condition.reason == "DoesNotFit" and _lacks_no_more(deployment, before, known)


def _lacks_no_more(deployment: LLMDeployment, before: LLMDeployment, known: Evidence) -> bool:
    """Whether the best shape lacks no more memory than that of the spec before, and no more tokens are asked for."""
    now, then = _best(deployment, known), _best(before, known)
    if now is None or then is None:
        return False
    lacks_no_more = _left(now) >= _left(then)
    return lacks_no_more and (now.max_model_len or 0) <= (then.max_model_len or 0)


def _best(deployment: LLMDeployment, known: Evidence) -> Fit | None:
    spec = deployment.spec
    started = spec.model_copy(update={"fit": spec.fit.model_copy(update={"policy": "warn"})})
    decided = decide(started, known.facts, extra=known.accelerators)
    return decided.fit if isinstance(decided, Choice) else None


def _left(fit: Fit) -> float:
    """Return the bytes of a rank beyond what is needed, where there is room for a cache; negative: what lacks."""
    if fit.margin_per_rank is not None:
        return fit.margin_per_rank
    return fit.kv_cache.value if fit.kv_cache is not None else -math.inf


def _warnings(*sentences: str) -> tuple[str, ...]:
    """Cut to what is passed on, and to letters that fit into a header."""
    return tuple(printable(each, WARNING_LIMIT) for each in sentences if each)
