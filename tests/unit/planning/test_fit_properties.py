"""What must hold of the fit whatever the model, the shape and the accelerator: more room never fits worse."""

from dataclasses import replace
from functools import partial
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import LLAMA_8B, deployment

from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.caches.layers import Cache, State
from manta_operator.facts.models import ModelFacts
from manta_operator.facts.steps import Step, Tower
from manta_operator.planning import context
from manta_operator.planning.fit import Fit, judge
from manta_operator.planning.fit import judge as judged
from manta_operator.planning.shape import Shape

GIB = 2**30
ORDER = {"False": 0, "Unknown": 1, "True": 2}
FULL = Cache("full", 8, 128, 128)
WINDOW = Cache("window", 8, 128, 128, 1024)
CHUNK = Cache("chunked", 8, 128, 128, 4096)
LATENT = Cache("latent", 1, latent=576, indexer=132)
STATE = Cache("recurrent", state=State("delta", 8192, 3, 32, 16384, 4.0))
LAYERS = {
    "full": (FULL,) * 32,
    "windows": ((WINDOW,) * 5 + (FULL,)) * 5 + (WINDOW,) * 2,
    "chunks": ((CHUNK,) * 3 + (FULL,)) * 8,
    "latent": (LATENT,) * 32,
    "states": ((STATE,) * 3 + (FULL,)) * 8,
    "all windows": (WINDOW,) * 32,
}
TYPES = ("bfloat16", "fp8", "nvfp4")
STEPS = (
    Step(),
    Step(128_256, 14_336),
    Step(248_320, 17_408, tower=Tower(1152, 4304, 0)),
    Step(129_280, 18_432, 2048, True),
)

models = st.builds(
    lambda caches, step, experts: replace(
        LLAMA_8B,
        caches=LAYERS[caches],
        latent_dim=576 if caches == "latent" else None,
        step=step,
        experts=experts,
        experts_per_token=8 if experts else 0,
    ),
    st.sampled_from(list(LAYERS)),
    st.sampled_from(STEPS),
    st.sampled_from((0, 128)),
)
shapes = st.builds(
    lambda tensor, pipeline: Shape(tensor, pipeline, tensor * pipeline, "mp"),
    st.sampled_from((1, 2, 4, 8)),
    st.sampled_from((1, 2, 3)),
)
lengths = st.integers(64, 131_072)
memories = st.integers(8, 288)
tokens = st.integers(64, 32_768)
requests = st.integers(1, 2048)


def fit(facts: ModelFacts, shape: Shape, memory: int, **engine: object) -> Fit:
    spec = deployment(engine={"maxNumSeqs": 256, "maxNumBatchedTokens": 8192} | engine).spec
    return judge(spec, shape, Accelerator("any", "nvidia.com/gpu", memory * GIB, (), 90), facts)


def needs(found: Fit) -> float:
    """Bytes of a rank for a request of the longest length and all beside it, at most."""
    assert found.kv_cache is not None
    assert found.margin_per_rank is not None
    assert found.overhead_per_rank is not None
    return found.overhead_per_rank.value + found.kv_cache.value - found.margin_per_rank


@given(models, shapes, memories, st.integers(0, 100), lengths)
@settings(deadline=None)
def test_more_memory_never_fits_worse(facts, shape, memory, more, length):
    less, greater = (fit(facts, shape, each, maxModelLen=length) for each in (memory, memory + more))
    assert ORDER[less.fits] <= ORDER[greater.fits]
    assert (less.kv_cache_tokens or 0) <= (greater.kv_cache_tokens or 0)


@given(models, shapes, memories, lengths, st.integers(0, 100_000))
@settings(deadline=None)
def test_a_shorter_context_never_needs_more(facts, shape, memory, length, more):
    short, long = (fit(facts, shape, memory, maxModelLen=each) for each in (length, length + more))
    assert ORDER[short.fits] >= ORDER[long.fits]
    if short.margin_per_rank is not None and long.margin_per_rank is not None:
        assert needs(short) <= needs(long)


@given(models, shapes, memories, requests, requests)
@settings(deadline=None)
def test_fewer_requests_at_a_time_never_need_more(facts, shape, memory, some, others):
    few, many = (fit(facts, shape, memory, maxModelLen=8192, maxNumSeqs=each) for each in sorted((some, others)))
    assert ORDER[few.fits] >= ORDER[many.fits]
    assert few.overhead_per_rank is not None
    assert many.overhead_per_rank is not None
    assert few.overhead_per_rank.value <= many.overhead_per_rank.value


@given(models, shapes, memories, tokens, tokens)
@settings(deadline=None)
def test_shorter_steps_never_need_more(facts, shape, memory, some, others):
    short, long = (
        fit(facts, shape, memory, maxModelLen=8192, maxNumBatchedTokens=each) for each in sorted((some, others))
    )
    assert ORDER[short.fits] >= ORDER[long.fits]
    assert (short.kv_cache_tokens or 0) >= (long.kv_cache_tokens or 0)


@given(models, shapes, memories, st.integers(1024, 131_072), st.sampled_from(TYPES), st.sampled_from(TYPES))
@settings(deadline=None)
def test_a_narrower_cache_never_holds_less(facts, shape, memory, length, one, other):
    wide, narrow = (
        fit(facts, shape, memory, maxModelLen=length, kvCacheDtype=each)
        for each in sorted((one, other), key=TYPES.index)
    )
    if facts.latent_dim and "nvfp4" not in (one, other):
        assert ORDER[wide.fits] <= ORDER[narrow.fits]
    assert (narrow.concurrency or 0) >= (wide.concurrency or 0)


@given(models, shapes, memories, lengths)
@settings(deadline=None)
def test_bounds_hold_the_value_and_say_the_verdict(facts, shape, memory, length):
    found = fit(facts, shape, memory, maxModelLen=length)
    assert found.message
    assert found.overhead_per_rank is not None
    assert found.overhead_per_rank.low >= 0
    if found.tokens is not None:
        assert found.tokens.low <= (found.kv_cache_tokens or 0) + 1
        assert found.kv_cache_tokens == int(found.tokens.value)
    if found.fits == "Unknown":
        assert "too close to call" in found.message


def test_a_spec_is_judged_in_a_blink():
    """All shapes of a spec within the 100 ms that the planner promises; each takes a fraction of a millisecond."""
    facts = replace(LLAMA_8B, caches=LAYERS["states"], step=STEPS[2])
    spec = deployment(engine={"maxModelLen": 131_072}).spec
    on = Accelerator("any", "nvidia.com/gpu", 80 * GIB, (), 90)
    widths = [Shape(tensor, pipeline, 8, "mp") for tensor in (1, 2, 4, 8) for pipeline in (1, 2, 3, 4)]
    began = perf_counter()
    found = [partial(judged, spec)(shape, on, facts) for shape in widths]
    assert perf_counter() - began < 0.1
    assert all(each.max_model_len == context.length(spec.engine, facts) for each in found)


@pytest.mark.parametrize("caches", ["windows", "chunks"])
def test_windows_need_less_than_full_layers(caches):
    one = Shape(1, 1, 1, "uni")
    full, some = (
        fit(replace(LLAMA_8B, caches=LAYERS[each]), one, 80, maxModelLen=131_072) for each in ("full", caches)
    )
    assert (some.concurrency or 0) > (full.concurrency or 0)
