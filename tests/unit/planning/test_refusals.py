"""A refusal deploys nothing, so it has to be certain: what is only unlikely is Unknown."""

from hypothesis import given, settings
from hypothesis import strategies as st
from make import deployment

from manta_operator.facts import catalog
from manta_operator.facts.models import ModelFacts, from_config
from manta_operator.planning.fit import Fit, accelerator_of, judge
from manta_operator.planning.search import Choice, decide
from manta_operator.planning.shape import Shape
from manta_operator.planning.walk import walk

GIB = 2**30
ONE = Shape(1, 1, 1, "uni")


def known(name: str) -> ModelFacts:
    return from_config(catalog.entries()[name].config)


QWEN_14B = known("Qwen/Qwen3-14B")


def asked(memory: int, **more):
    other = {"type": "other", "resource": "nvidia.com/gpu", "memory": f"{memory}Mi"}
    return deployment(accelerator=other, parallelism={"tensor": 1}, **more).spec


def verdict(facts: ModelFacts, memory: int, concurrency: int, **engine) -> Fit | None:
    decided = decide(asked(memory, engine=engine, fit={"concurrency": concurrency}), facts)
    return decided.fit if isinstance(decided, Choice) else None


def test_two_requests_that_may_fit_are_not_refused_where_no_token_is_likely():
    one, two, many = (verdict(QWEN_14B, 32 * 1024, wanted, maxModelLen=1024) for wanted in (1, 2, 1000))
    assert one is not None
    assert (one.fits, one.kv_cache_tokens) == ("Unknown", 0)
    assert two is not None
    assert two.fits == "Unknown"
    assert two.margin_per_rank is not None
    assert one.margin_per_rank is not None
    assert two.margin_per_rank < one.margin_per_rank
    assert many is None, "a thousand are certain not to fit"


@given(st.integers(26 * 1024, 40 * 1024), st.integers(2, 64))
@settings(deadline=None)
def test_only_what_fails_with_the_least_overhead_is_refused(memory, wanted):
    engine = {"maxModelLen": 1024}
    spec = asked(memory, engine=engine, fit={"concurrency": wanted})
    on = accelerator_of(spec)
    one, found = judge(spec, ONE, on, QWEN_14B), walk(spec, QWEN_14B, on)
    if not isinstance(found, Choice):
        assert (one.at_most or 0) < wanted
    else:
        assert (one.at_most or 0) >= wanted
        assert (found.fit.fits == "True") == ((one.concurrency or 0) >= wanted)


def test_what_has_started_is_not_refused():
    """An RTX 3050 of 6 GiB logged 20,032 tokens (benchmarks/fit, 3050-q3-06b): more than nine in ten would have."""
    engine = {"maxModelLen": 2048, "gpuMemoryUtilization": 60, "enforceEager": True}
    found = verdict(known("Qwen/Qwen3-0.6B"), 6 * 1024, 9, **engine)
    assert found is not None
    assert found.tokens is not None
    assert found.tokens.high < 9 * 2048
    assert found.fits == "Unknown"
