"""A fact that vanishes is not a rollout: the shape, the memory and with them the revision stay."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, TINY, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.facts.accelerators import Accelerator, catalog
from manta_operator.planning.conditions import Situation, conditions
from manta_operator.planning.engine_facts import EngineFacts, EngineReport
from manta_operator.planning.observe import Observed, ObservedGroup
from manta_operator.planning.previous import recall
from manta_operator.planning.problems import Problem
from manta_operator.planning.status import status

CPU = {"accelerator": {"type": "cpu"}}
L4 = {"accelerator": {"type": "nvidia-l4"}}
LARGE = replace(TINY, weights_bytes=60 * 2**30)


def planned(about, facts, before):
    made = desire(about, facts, Observed(), recall(about.spec, before))
    assert isinstance(made, Desired), made
    return made


def written(about, made, before):
    plan, problems = (made.plan, ()) if isinstance(made, Desired) else (None, made)
    return status(about, Situation(1, 1, plan, problems, Observed()), before, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(("spec", "facts"), [(CPU, TINY), (L4, LARGE)], ids=["memory on cpu", "tensor on L4"])
def test_facts_that_vanish_change_neither_revision_nor_status(spec, facts):
    about = deployment(**spec)
    seen = planned(about, facts, {})
    before = written(about, seen, {})
    assert planned(about, None, {}).plan.revision != seen.plan.revision  # without a memory it would be a rollout
    unseen = planned(about, None, before)
    assert unseen.plan.revision == seen.plan.revision
    assert written(about, unseen, before) == before


def test_scaling_while_the_facts_are_away_is_no_rollout_either():
    before = written(deployment(**CPU), planned(deployment(**CPU), TINY, {}), {})
    scaled = deployment(generation=2, replicas=3, **CPU)
    assert planned(scaled, None, before).plan.revision == before["revision"]


@pytest.mark.parametrize(
    "change", [{"model": {"uri": "hf://org/other"}}, {"engine": {"kvCacheMemory": "1Mi"}}, L4], ids=str
)
def test_another_spec_is_decided_anew(change):
    before = written(deployment(**CPU), planned(deployment(**CPU), TINY, {}), {})
    assert recall(deployment(**(CPU | change)).spec, before) is None


def test_another_image_keeps_the_shape():
    before = written(deployment(**L4), planned(deployment(**L4), LARGE, {}), {})
    upgraded = planned(deployment(**L4, engine={"image": "manta/runtime:2"}), None, before)
    assert upgraded.plan.revision != before["revision"]
    assert upgraded.plan.shape.tensor == before["shape"]["tensor"] > 1


def test_facts_that_can_be_seen_win():
    about = deployment(**CPU)
    before = written(about, planned(about, TINY, {}), {})
    larger = planned(about, replace(TINY, weights_bytes=10**9), before)
    assert larger.plan.fit.weights_per_rank == 10**9


def test_a_problem_in_between_does_not_forget():
    about = deployment(**CPU)
    seen = planned(about, TINY, {})
    before = written(about, seen, {})
    between = written(about, (Problem("spec.model.uri", "cannot be read", "repair it"),), before)
    assert planned(about, None, between).plan.revision == seen.plan.revision


@pytest.mark.parametrize(
    "before", [{}, {"shape": {}}, {"shape": None, "fit": None}, {"fit": {"fits": "True"}}], ids=str
)
def test_a_status_that_tells_nothing_is_no_memory(before):
    assert recall(deployment(**CPU).spec, before) is None


def serving(made):
    """The world in which the first replica of a plan serves."""
    [wanted] = made.plan.groups
    there = ObservedGroup(
        wanted.name, "uid", made.plan.revision, wanted.index, pods=made.plan.shape.pods, ready_pods=made.plan.shape.pods
    )
    return Observed((there,))


HUGE = replace(TINY, weights_bytes=900 * 2**30)


@pytest.mark.parametrize("later", [TINY, LARGE, HUGE, None], ids=["fits", "wider", "never", "unseen"])
@pytest.mark.parametrize("first", [None, TINY], ids=["unknown before", "known before"])
def test_what_serves_is_neither_stopped_nor_rolled_out_by_what_is_known_later(first, later):
    about = deployment(accelerator={"type": "nvidia-l4", "perPod": 1})
    made = planned(about, first, {})
    before = written(about, made, {})
    after = desire(about, later, serving(made), recall(about.spec, before))
    assert isinstance(after, Desired), after
    assert (after.plan.revision, after.plan.prune) == (made.plan.revision, ())
    assert [each.name for each in after.plan.groups] == [each.name for each in made.plan.groups]


def test_it_stays_so_while_its_only_replica_restarts():
    about = deployment(**L4)
    made = planned(about, None, {})
    engines = EngineReport(about.spec.engine, False, (("demo-0-0", EngineFacts(kv_cache_tokens=1000)),))
    situation = Situation(1, 1, made.plan, (), serving(made), engines=engines)
    before = status(about, situation, {}, "2026-01-01T00:00:00Z")
    after = desire(about, HUGE, Observed(), recall(about.spec, before))
    assert isinstance(after, Desired), after
    assert after.plan.revision == made.plan.revision
    assert after.plan.fit.fits == "False"


def test_before_anything_has_served_what_cannot_fit_is_not_started():
    about = deployment(accelerator={"type": "nvidia-l4", "perPod": 1}, parallelism={"tensor": 1, "pipeline": 1})
    before = written(about, planned(about, None, {}), {})
    problems = desire(about, HUGE, Observed(), recall(about.spec, before))
    assert isinstance(problems, tuple)
    assert [each.reason for each in problems] == ["DoesNotFit"]


def starting(made):
    """The same world while the replica loads."""
    return Observed(tuple(replace(group, ready_pods=0) for group in serving(made).groups))


def as_an_older_manta_wrote(status):
    """The status of 1ffe848, which knew of one hash, of flat numbers and of nothing measured."""
    shape = {name: value for name, value in status["shape"].items() if name not in ("fitHash", "devices", "started")}
    fit = {"fits": "Unknown", "message": "the checkpoint cannot be seen", "weightsPerRank": 5, "kvCacheTokens": 7}
    return status | {"shape": shape, "fit": fit}


def judged(about, made, observed):
    situation = Situation(1, 1, made.plan, (), observed, doubts=made.doubts, policy=about.spec.fit.policy)
    return conditions(situation)[0]


@pytest.mark.parametrize("older", [False, True], ids=["this version", "upgrade from an older one"])
@pytest.mark.parametrize(
    ("later", "spec"),
    [(LARGE, L4), (HUGE, L4), (HUGE, L4 | {"parallelism": {"tensor": 1, "pipeline": 1}}), (LARGE, CPU)],
    ids=["a wider one would do", "none would do", "a pinned one would not", "on cpu"],
)
def test_what_still_loads_is_neither_deleted_nor_replaced_by_what_is_known_later(later, spec, older):
    about = deployment(**spec)
    made = planned(about, None, {})
    before = written(about, made, {})
    before = as_an_older_manta_wrote(before) if older else before
    after = desire(about, later, starting(made), recall(about.spec, before))
    assert isinstance(after, Desired), after
    assert (after.plan.revision, after.plan.prune) == (made.plan.revision, ())
    assert after.plan.shape == made.plan.shape


def test_the_condition_tells_of_what_was_started_and_cannot_fit():
    about = deployment(**L4)
    made = planned(about, None, {})
    after = desire(about, HUGE, starting(made), recall(about.spec, written(about, made, {})))
    condition = judged(about, after, starting(made))
    assert (condition.status, condition.reason) == ("False", "DoesNotFit")
    assert "left as they are" in condition.message
    assert judged(about, after, serving(made)).reason == "ServesAllTheSame"


def test_what_was_started_stands_while_the_last_old_group_is_gone_and_no_new_one_is_there():
    about = deployment(**L4)
    made = planned(about, None, {})
    plan = planned(about, None, {}).plan
    started = status(
        about, Situation(1, 1, replace(plan, started=True), (), starting(made)), {}, "2026-01-01T00:00:00Z"
    )
    after = desire(about, LARGE, Observed(), recall(about.spec, started))
    assert isinstance(after, Desired), after
    assert after.plan.shape == made.plan.shape


def test_a_check_that_is_new_stops_nothing_that_was_started():
    about = deployment(**L4, engine={"quantization": "none"})
    made = planned(about, None, {})
    before = written(about, made, {})
    quantized = replace(LLAMA_8B, quantization="awq")
    refused = desire(about, quantized, Observed(), recall(about.spec, before))
    assert isinstance(refused, tuple), "before there are pods it is refused"
    after = desire(about, quantized, starting(made), recall(about.spec, before))
    assert isinstance(after, Desired), after
    assert after.plan.revision == made.plan.revision
    assert judged(about, after, starting(made)).status == "False"
    assert judged(about, after, serving(made)).status != "False"
    assert "Doubted" in {each.reason for each in after.plan.decisions}


OWN = Accelerator("acme-npu", "acme.example/npu", 64 * 2**30, ())
WIDER = replace(catalog()["nvidia-l4"], products=("NVIDIA-L4", "NVIDIA-L4-X"))


@pytest.mark.parametrize(
    ("kind", "then", "now"),
    [
        ("acme-npu", {"acme-npu": OWN}, {}),
        ("acme-npu", {"acme-npu": OWN}, {"acme-npu": replace(OWN, resource="acme.example/other")}),
        ("nvidia-l4", {"nvidia-l4": WIDER}, {}),
        ("nvidia-l4", {}, {"nvidia-l4": WIDER}),
    ],
    ids=["own, gone", "own, another resource", "products, gone", "products, added"],
)
@pytest.mark.parametrize("facts", [None, LLAMA_8B], ids=["unseen", "seen"])
def test_a_catalog_rolls_nothing_out_and_freezes_nothing(kind, then, now, facts):
    about = deployment(accelerator={"type": kind})
    made = desire(about, facts, Observed(), extra=then)
    assert isinstance(made, Desired), made
    before = written(about, made, {})
    more = deployment(accelerator={"type": kind}, replicas=2)
    for observed in (starting(made), serving(made)):
        after = desire(more, facts, observed, recall(more.spec, before), extra=now)
        assert isinstance(after, Desired), after
        assert (after.plan.revision, after.plan.prune, len(after.plan.groups)) == (made.plan.revision, (), 2)
        assert written(about, after, before)["shape"]["devices"] == before["shape"]["devices"]


def test_a_catalog_that_comes_with_the_upgrade_rolls_nothing_out():
    about = deployment(**L4)
    made = planned(about, None, {})
    before = as_an_older_manta_wrote(written(about, made, {}))
    after = desire(about, None, starting(made), recall(about.spec, before), extra={"nvidia-l4": WIDER})
    assert isinstance(after, Desired), after
    assert after.plan.revision == made.plan.revision


def test_more_products_than_a_status_holds_are_taken_from_the_catalog():
    own = {"nvidia-l4": replace(WIDER, products=tuple(f"L4-{index}" for index in range(300)))}
    about = deployment(**L4)
    made = desire(about, None, Observed(), extra=own)
    assert isinstance(made, Desired), made
    before = written(about, made, {})
    assert "devices" not in before["shape"]
    after = desire(about, None, starting(made), recall(about.spec, before), extra=own)
    assert after.plan.revision == made.plan.revision


@pytest.mark.parametrize(
    "engine", [{"maxNumBatchedTokens": 1048576}, {"args": ["--block-size=16"]}, {"lora": {"maxRank": 64}}], ids=str
)
def test_an_edit_of_what_the_fit_depends_on_is_judged_although_the_former_one_serves(engine):
    pinned = {"accelerator": {"type": "nvidia-l4"}, "parallelism": {"tensor": 1, "pipeline": 1}}
    about, edited = deployment(**pinned), deployment(**pinned, engine=engine)
    made = planned(about, None, {})
    engines = EngineReport(about.spec.engine, False, (("demo-0-0", EngineFacts(kv_cache_tokens=1000)),))
    before = status(about, Situation(1, 1, made.plan, (), serving(made), engines=engines), {}, "2026-01-01T00:00:00Z")
    problems = desire(edited, HUGE, serving(made), recall(edited.spec, before))
    assert isinstance(problems, tuple)
    assert [each.reason for each in problems] == ["DoesNotFit"]
    same = desire(about, HUGE, serving(made), recall(about.spec, before))
    assert isinstance(same, Desired)
    assert "actual" in before["fit"]
    assert "actual" not in written(edited, desire(edited, TINY, Observed(), recall(edited.spec, before)), before)["fit"]


def test_fields_of_another_version_are_none_of_our_business():
    about = deployment(**L4)
    before = written(about, planned(about, LLAMA_8B, {}), {})
    shape, fit = before["shape"] | {"newer": 1}, before["fit"] | {"newer": {"a": 1}}
    fit["predicted"] = fit["predicted"] | {"newer": 1}
    found = recall(about.spec, before | {"shape": shape, "fit": fit})
    assert found == recall(about.spec, before)
    assert found is not None
    unread = recall(about.spec, before | {"fit": {"fits": "Perhaps"}})
    assert unread is not None
    assert (unread.shape, unread.fit.fits) == (found.shape, "Unknown")


@pytest.mark.parametrize("policy", ["warn", "enforce"])
@pytest.mark.parametrize("facts", [None, HUGE], ids=["unseen", "never"])
def test_what_has_served_is_not_doubted_again_while_it_does_not(policy, facts):
    about = deployment(**L4, fit={"policy": policy})
    made = planned(about, None, {})
    engines = EngineReport(about.spec.engine, False, (("demo-0-0", EngineFacts(kv_cache_tokens=1000)),))
    before = status(about, Situation(1, 1, made.plan, (), serving(made), engines=engines), {}, "2026-01-01T00:00:00Z")
    after = desire(about, facts, starting(made), recall(about.spec, before))
    assert isinstance(after, Desired), after
    up, down = judged(about, after, serving(made)), judged(about, after, starting(made))
    assert (up.status, up.reason) == (down.status, down.reason)
    assert up.status == "True"
