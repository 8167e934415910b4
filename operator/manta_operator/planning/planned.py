"""The condition Planned: whether the spec can be served, as far as can be known before a pod starts. Pure.

    the spec is refused                          False    InvalidSpec, DoesNotFit
    it fits, or its replicas hold it already     True     Planned, ServesAllTheSame
    it was started before that was known         False    InvalidSpec, DoesNotFit
    it does not fit, and is started all the same False    WarnedOnly             spec.fit.policy: warn
    nobody can say                               Unknown  FitUnknown, TooCloseToCall, NotPlannedYet

What a replica shows, or has shown, outweighs what was predicted: an engine that serves fits. So a prediction that
changes, with a new operator or with facts that come later, neither stops nor rolls out what was started.
"""

from dataclasses import replace
from typing import Literal

from manta_operator.planning.fit import Fit
from manta_operator.planning.fit_status import bounds
from manta_operator.planning.problems import DOES_NOT_FIT, Problem
from manta_operator.planning.shape import Shape
from manta_operator.planning.situation import Condition, Situation

GOES_ON = frozenset({"FitUnknown", "TooCloseToCall", "WarnedOnly"})
"""Reasons that are not True and do not keep replicas from being started."""


def planned(situation: Situation) -> Condition:
    """Judge the situation."""
    plan = situation.plan
    if situation.problems:
        return refused(situation.problems)
    if plan is None:
        return Condition("Planned", "Unknown", "NotPlannedYet", "no plan has been made yet")
    serving = situation.observed.ready_groups(plan.revision)
    if situation.doubts and not (serving or plan.measured):
        return kept(refused(situation.doubts))
    return chosen(plan.shape, plan.fit, serving, situation.policy, served=plan.measured)


def refused(problems: tuple[Problem, ...]) -> Condition:
    """Judge a spec that cannot be served as written."""
    said = "; ".join(map(str, problems))
    if all(problem.reason == DOES_NOT_FIT for problem in problems):
        return Condition("Planned", "False", "DoesNotFit", f"{said}; or set spec.fit.policy to warn")
    return Condition("Planned", "False", "InvalidSpec", said)


def chosen(
    shape: Shape, fit: Fit, serving: int, policy: Literal["enforce", "warn"], *, served: bool = False
) -> Condition:
    """Judge a spec for which a shape was chosen.

    Args:
        shape: How a replica is cut.
        fit: What was predicted of it.
        serving: How many replicas of it serve.
        policy: With enforce, one that is predicted not to fit was chosen only because it was started already.
        served: A replica of it has served.
    """
    said = f"{shape}; {fit.message}"
    if fit.fits == "True" or (fit.fits == "Unknown" and (serving or served)):
        return Condition("Planned", "True", "Planned", said)
    if fit.fits == "Unknown":
        return _unknown(fit, said)
    predicted = f"predicted not to fit: {fit.message}"
    said = f"{shape}; {predicted}"
    if serving or served:
        shown = f"{serving} of its replicas serve" if serving else "its replicas have served"
        message = f"{shape}; {shown}, so that nothing is stopped or changed, although it is {predicted}"
        return Condition("Planned", "True", "ServesAllTheSame", message)
    if policy == "enforce":
        return kept(Condition("Planned", "False", "DoesNotFit", said))
    message = f"{said}; it is started all the same, since spec.fit.policy is warn"
    return Condition("Planned", "False", "WarnedOnly", message)


def kept(condition: Condition) -> Condition:
    """Say what becomes of replicas that do not serve, and should not have been started."""
    message = f"{condition.message}; its replicas were started before this was known and are left as they are: "
    return replace(condition, message=f"{message}to have them planned anew, change the spec, for example its split")


def _unknown(fit: Fit, said: str) -> Condition:
    if fit.margin_per_rank is None:
        return Condition("Planned", "Unknown", "FitUnknown", f"{said}; replicas are started all the same")
    between = f" (nine times in ten: {found})" if (found := bounds(fit)) else ""
    remedy = "replicas are started; a smaller maxModelLen or maxNumSeqs makes it certain"
    return Condition("Planned", "Unknown", "TooCloseToCall", f"{said}{between}; {remedy}")
