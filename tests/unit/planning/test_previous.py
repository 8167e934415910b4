"""A fact that vanishes is not a rollout: the shape, the memory and with them the revision stay."""

from dataclasses import replace

import pytest
from make import TINY, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.conditions import Situation
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
