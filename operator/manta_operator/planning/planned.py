"""The condition Planned: whether the spec can be served, as far as can be known before a pod starts. Pure.

    the spec is refused                          False    InvalidSpec, DoesNotFit
    it fits, or its replicas hold it already     True     Planned, ServesAllTheSame
    it does not fit, and is started all the same False    WarnedOnly             spec.fit.policy: warn
    nobody can say                               Unknown  FitUnknown, TooCloseToCall, NotPlannedYet

What a replica shows outweighs what was predicted: an engine that serves fits. So a prediction that changes, with a new
operator or with facts that come later, neither stops nor rolls out what runs.
"""

from manta_operator.planning.fit import Fit
from manta_operator.planning.fit_status import bounds
from manta_operator.planning.plan import Plan
from manta_operator.planning.problems import DOES_NOT_FIT, Problem
from manta_operator.planning.situation import Condition, Situation

GOES_ON = frozenset({"FitUnknown", "TooCloseToCall", "WarnedOnly"})
"""Reasons that are not True and do not keep replicas from being started."""


def planned(situation: Situation) -> Condition:
    """Judge the situation."""
    plan = situation.plan
    if situation.problems:
        said = "; ".join(map(str, situation.problems))
        if unfit(situation.problems):
            return Condition("Planned", "False", "DoesNotFit", f"{said}; or set spec.fit.policy to warn")
        return Condition("Planned", "False", "InvalidSpec", said)
    if plan is None:
        return Condition("Planned", "Unknown", "NotPlannedYet", "no plan has been made yet")
    serving = situation.observed.ready_groups(plan.revision)
    said = f"{plan.shape}; {plan.fit.message}"
    if plan.fit.fits == "True" or (plan.fit.fits == "Unknown" and serving):
        return Condition("Planned", "True", "Planned", said)
    if plan.fit.fits == "Unknown":
        return _unknown(plan.fit, said)
    return _misfit(situation, plan, serving)


def unfit(problems: tuple[Problem, ...]) -> bool:
    """Whether nothing is wrong with the spec but that it does not fit."""
    return bool(problems) and all(problem.reason == DOES_NOT_FIT for problem in problems)


def _unknown(fit: Fit, said: str) -> Condition:
    if fit.margin_per_rank is None:
        return Condition("Planned", "Unknown", "FitUnknown", f"{said}; replicas are started all the same")
    between = f" (nine times in ten: {found})" if (found := bounds(fit)) else ""
    remedy = "replicas are started; a smaller maxModelLen or maxNumSeqs makes it certain"
    return Condition("Planned", "Unknown", "TooCloseToCall", f"{said}{between}; {remedy}")


def _misfit(situation: Situation, plan: Plan, serving: int) -> Condition:
    said = f"{plan.shape}; predicted not to fit: {plan.fit.message}"
    if serving or situation.policy == "enforce":
        shown = f"{serving} of its replicas serve" if serving else "its replicas have served"
        message = f"{said}; but {shown}, so that nothing is stopped or changed for it"
        return Condition("Planned", "True", "ServesAllTheSame", message)
    message = f"{said}; it is started all the same, since spec.fit.policy is warn"
    return Condition("Planned", "False", "WarnedOnly", message)
