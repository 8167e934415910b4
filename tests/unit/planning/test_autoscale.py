"""What the autoscaler is told of a deployment, and how many replicas everybody else is handed."""

import pytest
from groups import bodies, group, stamp, unschedulable
from make import LLAMA_8B, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.autoscale import asking, begin, replicas, second_owner, settings, state
from manta_operator.planning.fit import accelerator_of
from manta_operator.planning.observe import observe
from manta_operator.planning.observed import Observed
from manta_operator.planning.simulated import engine
from manta_operator.scaling.settings import Settings
from manta_operator.scaling.signals import Replicas

NOW = 10_000.0
BOUNDS = {"minReplicas": 2, "maxReplicas": 6}


def autoscaled(replicas: int = 3, **spec):
    return deployment(replicas=replicas, autoscaling=BOUNDS | spec)


@pytest.mark.parametrize(
    ("wished", "status", "number"),
    [
        (3, {}, 3),
        (1, {}, 2),
        (9, {}, 6),
        (3, {"autoscaling": {"replicas": 5}}, 5),
        (3, {"autoscaling": {"replicas": 0}}, 2),
        (3, {"autoscaling": {"replicas": 40}}, 6),
        (3, {"autoscaling": None}, 3),
    ],
)
def test_begins_where_it_was_and_within_the_bounds(wished, status, number):
    assert begin(autoscaled(wished), status) == number


def test_without_autoscaling_the_spec_rules():
    plain = deployment(replicas=4)
    assert begin(plain, {"autoscaling": {"replicas": 9}}) == 4
    assert asking(plain, 9) is plain


def test_everything_below_is_handed_the_number_and_the_spec_stays():
    asked = autoscaled(3)
    assert asking(asked, 5).spec.replicas == 5
    assert asked.spec.replicas == 3
    assert asking(asked, 3) is asked


def test_the_number_of_replicas_makes_no_new_revision():
    few, many = (desire(asking(autoscaled(), number), LLAMA_8B, Observed()) for number in (2, 6))
    assert isinstance(few, Desired)
    assert isinstance(many, Desired)
    assert few.plan.revision == many.plan.revision
    assert (len(few.plan.groups), len(many.plan.groups)) == (2, 6)


def test_the_estimate_adds_up_to_what_the_planner_says_of_a_full_replica():
    asked = autoscaled()
    desired = desire(asked, LLAMA_8B, Observed())
    assert isinstance(desired, Desired)
    speed = desired.plan.performance
    assert speed is not None
    estimate = settings(asked.spec, speed, 90.0, 2.0).estimate
    seconds = estimate.prompts(speed.prompt, speed.prompt**2 / 2) + estimate.answers(speed.answer)
    assert speed.answer / seconds == pytest.approx(speed.together.value)
    assert estimate.cold_start == 90.0


def test_long_prompts_cost_what_the_simulator_says():
    asked = autoscaled()
    desired = desire(asked, LLAMA_8B, Observed())
    assert isinstance(desired, Desired)
    plan, h100 = desired.plan, accelerator_of(asked.spec)
    model = engine(asked.spec, plan.shape, h100, LLAMA_8B, plan.fit)
    assert model is not None
    estimate = settings(asked.spec, plan.performance, None, 2.0).estimate
    assert estimate.pair_seconds == pytest.approx(model.per_pair, rel=0.02)
    assert 1 / estimate.prefill_tokens_per_s == pytest.approx(model.per_prefill_token, rel=0.05)


def test_an_engine_has_the_places_that_it_was_given():
    for spec, places in (({}, 1024), ({"engine": {"maxNumSeqs": 24}}, 24)):
        asked = deployment(replicas=3, autoscaling=BOUNDS, **spec)
        desired = desire(asked, LLAMA_8B, Observed())
        assert isinstance(desired, Desired)
        assert settings(asked.spec, desired.plan.performance, None, 2.0).estimate.sequences == places
    assert settings(asked.spec, None, None, 2.0).estimate.sequences == 24
    assert settings(autoscaled().spec, None, None, 2.0).estimate.sequences is None


@pytest.mark.parametrize("kind", ["cpu", "nvidia-h100-80gb"])
def test_an_unknown_model_has_an_estimate_to_learn_from(kind):
    asked = deployment(autoscaling=BOUNDS, accelerator={"type": kind})
    found = settings(asked.spec, None, None, 2.0)
    assert found.estimate.decode_tokens_per_s > 0
    assert found.estimate.cold_start == 120.0


def test_the_spec_becomes_the_settings():
    asked = autoscaled(
        signal="latency",
        target={"utilisationPercent": 70, "firstTokenMilliseconds": 2500, "betweenTokensMilliseconds": 40},
        scaleToZero={"afterSeconds": 30},
        behaviour={"upPercent": 100, "upReplicas": 2, "downPercent": 20, "downSeconds": 90, "stabilisationSeconds": 45},
    )
    found = settings(asked.spec, None, None, 2.0)
    assert (found.least, found.most, found.idle_seconds, found.interval) == (2, 6, 30.0, 2.0)
    target, behaviour = found.target, found.behaviour
    assert (target.utilisation, target.first_token, target.between_tokens, target.measured) == (0.7, 2.5, 0.04, True)
    assert (behaviour.up_share, behaviour.up_count, behaviour.down_share) == (1.0, 2, 0.2)
    assert (behaviour.down_seconds, behaviour.hold) == (90.0, 45.0)


def test_a_long_interval_is_no_gap():
    assert settings(autoscaled().spec, None, None, 20.0).fresh_seconds == 200.0
    assert settings(autoscaled().spec, None, None, 2.0).fresh_seconds == Settings.fresh_seconds


def test_a_spec_without_autoscaling_has_no_settings():
    with pytest.raises(ValueError, match=r"spec\.replicas rules"):
        settings(deployment().spec, None, None, 2.0)


@pytest.mark.parametrize(("said", "speed"), [(None, 0.8), (1.7, 1.7), (99.0, 10.0), (0.0, 0.8), (0.001, 0.1)])
def test_a_restart_keeps_the_learned_speed(said, speed):
    assert state({"autoscaling": {"speed": said} if said is not None else {}}).capacity.speed == speed


def seen(*groups):
    return observe(*bodies(*groups), [], now=NOW)


def test_ready_ones_of_any_revision_count_and_the_others_start_or_wait_for_a_place():
    found = seen(
        group("old", 0),
        group("new", 0),
        group("new", 1, ready=False, created=NOW - 30),
        unschedulable(group("new", 2, ready=False, created=NOW - 300), NOW - 290),
        unschedulable(group("new", 3, ready=False, created=NOW - 20), NOW - 10),
    )
    assert replicas(found, "new", 6) == Replicas(6, 2, 3, 1)


def test_more_that_serve_than_are_asked_for_miss_nothing():
    found = seen(group("new", 0), group("new", 1), unschedulable(group("new", 2, ready=False), NOW - 500))
    assert replicas(found, "new", 2) == Replicas(2, 2, 0, 0)


def scale(manager, seconds):
    return {"manager": manager, "operation": "Update", "subresource": "scale", "time": stamp(NOW - seconds)}


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ([], None),
        ([{"manager": "kubectl", "operation": "Apply", "time": stamp(NOW)}], None),
        ([scale("kube-controller-manager", 900)], "kube-controller-manager"),
        ([scale("keda-operator", 900)], "keda-operator"),
        ([scale("kube-controller-manager", 90 * 86_400)], None),
        ([scale("kubectl", 90)], "kubectl"),
        ([scale("kubectl", 3700)], None),
        ([scale("kubectl", 3700), scale("kube-controller-manager", 5)], "kube-controller-manager"),
    ],
    ids=["nobody", "the manifest", "an HPA", "KEDA", "an HPA long gone", "a hand just now", "a hand long ago", "both"],
)
def test_who_else_writes_the_number(fields, owner):
    assert second_owner({"managedFields": fields}, NOW) == owner
