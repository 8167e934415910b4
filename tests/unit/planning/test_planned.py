"""The condition Planned: what is said of a spec that fits, does not fit, or of which nobody knows, and Ready."""

from dataclasses import replace

import pytest

from manta_operator.planning.conditions import Situation, conditions
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.events import events
from manta_operator.planning.fit import Fit
from manta_operator.planning.observe import Observed, ObservedGroup
from manta_operator.planning.plan import Plan, Rollout
from manta_operator.planning.problems import DOES_NOT_FIT, Problem
from manta_operator.planning.shape import Shape

GIB = 2**30
FITS = Fit("True", "8 GiB of 80 GiB")
MISFIT = Fit("False", "short of 3.0 GiB", margin_per_rank=-3 * GIB)
UNKNOWN = Fit("Unknown", "the checkpoint hf://a/b cannot be seen from here")
CLOSE = Fit("Unknown", "too close to call", tokens=Estimate(900, 700, 1100), margin_per_rank=-10)
GROUP = ObservedGroup("demo-new-0", "uid", "new", 0, pods=1, ready_pods=1)
TOO_BIG = Problem("spec", "hf://a/b does not fit", "set spec.engine.maxModelLen to 4096", DOES_NOT_FIT)
WRONG = Problem("spec.x", "is wrong", "mend it")


def situation(fit, *, groups=(), measured=False, **more):
    made = Plan(Shape(1, 1, 1, "uni"), fit, "new", (), (), (), rollout=Rollout("settled", "Settled", ""))
    made = replace(made, measured=measured)
    return Situation(1, 0, made, (), Observed(tuple(groups), router_ready=1), **more)


def refused(*problems):
    return Situation(1, 0, None, problems, Observed())


def judged(given):
    return {each.type: each for each in conditions(given)}


@pytest.mark.parametrize(
    ("case", "given", "expected", "words"),
    [
        ("fits", situation(FITS), "True Planned", "8 GiB of 80 GiB"),
        ("nobody knows", situation(UNKNOWN), "Unknown FitUnknown", "replicas are started all the same"),
        ("nobody knew, and it serves", situation(UNKNOWN, groups=[GROUP]), "True Planned", "cannot be seen"),
        ("close", situation(CLOSE), "Unknown TooCloseToCall", "nine times in ten: tokens 700 to 1100"),
        ("close, and it serves", situation(CLOSE, groups=[GROUP]), "True Planned", "too close"),
        ("warned", situation(MISFIT, policy="warn"), "False WarnedOnly", "spec.fit.policy is warn"),
        ("serves", situation(MISFIT, groups=[GROUP]), "True ServesAllTheSame", "1 of its replicas serve"),
        ("warned and serves", situation(MISFIT, groups=[GROUP], policy="warn"), "True ServesAllTheSame", "nothing is"),
        ("has served", situation(MISFIT, measured=True), "True ServesAllTheSame", "have served"),
        ("was started", situation(MISFIT), "False DoesNotFit", "and are left as they are"),
        ("does not fit", refused(TOO_BIG), "False DoesNotFit", "maxModelLen to 4096; or set spec.fit.policy to warn"),
        ("wrong", refused(WRONG), "False InvalidSpec", "spec.x: is wrong; mend it"),
        ("both", refused(TOO_BIG, WRONG), "False InvalidSpec", "is wrong"),
    ],
)
def test_what_is_said(case, given, expected, words):
    found = judged(given)["Planned"]
    assert f"{found.status} {found.reason}" == expected, case
    assert words in found.message


@pytest.mark.parametrize("fit", [UNKNOWN, CLOSE, MISFIT])
def test_ready_does_not_wait_for_a_prediction(fit):
    assert judged(situation(fit, policy="warn"))["Ready"].status == "True"
    assert judged(situation(fit, policy="warn", groups=[GROUP]))["Ready"].status == "True"


def test_ready_says_why_nothing_is_started():
    ready = judged(refused(TOO_BIG))["Ready"]
    assert (ready.status, ready.reason) == ("False", "DoesNotFit")


def written(given):
    return {"conditions": [vars(each) | {"observedGeneration": 1} for each in conditions(given)]}


def test_a_misfit_is_told_once():
    before, after = written(situation(FITS)), written(refused(TOO_BIG))
    assert [each.reason for each in events(before, after, 0.0) if each.reason == "DoesNotFit"] == ["DoesNotFit"]
    other_numbers = written(refused(replace(TOO_BIG, message="hf://a/b does not fit: short of 3.1 GiB")))
    assert [each.reason for each in events(after, other_numbers, 0.0)] == []
