"""`status.fit`: prediction and measurement side by side, remembered, and how far they are from each other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import TINY, deployment

from manta_operator.api.crd import llmdeployment_schema
from manta_operator.api.status import FitNumbers
from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.conditions import Situation
from manta_operator.planning.engine_facts import EngineFacts, EngineReport
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit import Fit
from manta_operator.planning.fit_errors import errors, outside, tokens_short
from manta_operator.planning.fit_status import beside, fit_status, measured
from manta_operator.planning.observe import Observed
from manta_operator.planning.previous import recall
from manta_operator.planning.status import status

GIB = 2**30
FIT = Fit(
    "True", "it fits", weights_per_rank=15 * GIB, kv_cache_per_rank=50 * GIB, kv_cache_tokens=400_000,
    max_model_len=8192, overhead_per_rank=Estimate(4.0 * GIB, 3.0 * GIB, 5.0 * GIB),
    kv_cache=Estimate(50.0 * GIB, 48.0 * GIB, 52.0 * GIB), tokens=Estimate(400_000, 384_000, 416_000),
    kv_bytes_per_token=131_072, concurrency=48.828, margin_per_rank=49 * GIB, basis="catalog",
)  # fmt: skip
SAID = EngineFacts(kv_cache_tokens=100_000, max_concurrency=12.2, weights_bytes=15 * GIB, kv_cache_bytes=49 * GIB)


def report(*facts):
    spec = deployment().spec
    return EngineReport(spec.engine, False, tuple((f"demo-{n}-0", each) for n, each in enumerate(facts)))


def test_both_stand_side_by_side_as_the_schema_has_them():
    found = fit_status(FIT, speed="about 2000 tokens/s", actual=measured(report(SAID), 4))
    assert found["predicted"] == {
        "weightsPerRank": 15 * GIB, "overheadPerRank": 4 * GIB, "kvCachePerRank": 50 * GIB,
        "kvCacheTokens": 400_000, "concurrency": 48.83,
    }  # fmt: skip
    assert found["actual"] == {
        "weightsPerRank": 15 * GIB, "kvCachePerRank": 49 * GIB, "kvCacheTokens": 400_000, "concurrency": 48.8
    }  # fmt: skip
    assert found["bounds"] == "overhead 3.0 GiB to 5.0 GiB, KV cache 48.0 GiB to 52.0 GiB, tokens 384000 to 416000"
    body = {
        "apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "demo"},
        "spec": {"model": {"uri": "hf://a/b"}, "accelerator": {"type": "cpu"}}, "status": {"fit": found},
    }  # fmt: skip
    pruned, unknown = llmdeployment_schema().prune(body)
    assert list(unknown) == []
    assert list(llmdeployment_schema().validate(llmdeployment_schema().default(pruned))) == []


def test_of_several_replicas_the_poorest_counts():
    found = measured(report(SAID, replace(SAID, kv_cache_tokens=90_000, weights_bytes=16 * GIB)), 1)
    assert found is not None
    assert (found.kv_cache_tokens, found.weights_per_rank) == (90_000, 16 * GIB)


def test_engines_that_tell_no_number_measure_nothing():
    assert measured(report(EngineFacts(version="0.32.0")), 1) is None
    assert "actual" not in fit_status(FIT, actual=FitNumbers())


@pytest.mark.parametrize("fit", [FIT, Fit("Unknown", "nobody knows"), replace(FIT, fits="False", margin_per_rank=-5)])
def test_what_was_predicted_survives_facts_that_vanish(fit):
    about = deployment(accelerator={"type": "cpu"})
    made = desire(about, TINY, Observed())
    assert isinstance(made, Desired)
    situation = Situation(1, 1, replace(made.plan, fit=fit), (), Observed(), engines=report(SAID))
    before = status(about, situation, {}, "2026-01-01T00:00:00Z")
    recalled = recall(about.spec, before)
    assert recalled is not None
    assert recalled.measured
    silent = replace(situation, plan=replace(made.plan, fit=recalled.fit), engines=None)
    assert status(about, silent, before, "2026-01-01T00:00:00Z")["fit"] == before["fit"]


WHOLE, ANY = st.none() | st.integers(), st.none() | st.floats()
COMPUTED = st.builds(
    Fit, st.sampled_from(["True", "False", "Unknown"]), st.text(), weights_per_rank=ANY, kv_cache_per_rank=WHOLE,
    kv_cache_tokens=WHOLE, concurrency=ANY, margin_per_rank=WHOLE,
)  # fmt: skip


@given(COMPUTED)
def test_whatever_was_computed_can_be_written(fit):
    found = fit_status(fit)
    about = {"model": {"uri": "hf://a/b"}, "accelerator": {"type": "cpu"}}
    body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "demo"}, "spec": about}
    assert (
        list(llmdeployment_schema().validate(llmdeployment_schema().default(body | {"status": {"fit": found}}))) == []
    )


def test_what_an_engine_measured_is_not_kept_for_another_spec():
    about, other = (
        deployment(accelerator={"type": "cpu"}),
        deployment(accelerator={"type": "cpu"}, fit={"concurrency": 2}),
    )
    made = desire(about, TINY, Observed())
    assert isinstance(made, Desired)
    before = status(about, Situation(1, 1, made.plan, (), Observed(), engines=report(SAID)), {}, "2026-01-01T00:00:00Z")
    after = status(other, Situation(1, 1, made.plan, (), Observed()), before, "2026-01-01T00:00:00Z")
    assert recall(other.spec, before) is None
    assert "actual" not in after["fit"]


def test_a_new_prediction_drops_the_bounds_of_the_former():
    before = fit_status(FIT, actual=FitNumbers(kv_cache_tokens=5))
    now = fit_status(Fit("Unknown", "not modelled yet"))
    assert beside(now, before) == now | {"actual": {"kvCacheTokens": 5}}


def test_how_far_off_it_was():
    found = {"predicted": {"weightsPerRank": 100 * GIB, "kvCacheTokens": 1000, "kvCachePerRank": 64 * 2**20}}
    assert errors(found) == {}
    found["actual"] = {"weightsPerRank": 101 * GIB, "kvCacheTokens": 900, "kvCachePerRank": round(0.06 * GIB)}
    assert errors(found) == {"weights": 0.01, "kv_cache": 0.0, "tokens": -0.1}


@given(st.integers(1, 10**9), st.floats(0, 0.9), st.integers(0, 10**9))
def test_within_its_error_bar_a_prediction_is_never_off(value, bar, tokens):
    foretold = Estimate.within(float(value), bar)
    if foretold.low <= tokens <= foretold.high:
        assert outside(foretold, tokens) == 0
        assert not tokens_short(foretold, tokens)
    else:
        assert (outside(foretold, tokens) < 0) == (tokens < value)
