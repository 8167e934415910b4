"""The search: the smallest shape that does, the order of what is tried, and why the rest is not taken."""

import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import LLAMA_8B, TINY, deployment

from manta_operator.facts.accelerators import catalog
from manta_operator.facts.anatomy.parts import Anatomy, Stored, Weight
from manta_operator.facts.catalog import entries
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.fit import accelerator_of, judge
from manta_operator.planning.search import Choice, decide
from manta_operator.planning.shape import Shape, candidates, cut
from manta_operator.planning.walk import Failed, walk

GIB = 2**30
BIG = replace(LLAMA_8B, attention_heads=128, kv_heads=8, layers=126, hidden_size=16384, weights_bytes=810 * 10**9)
"""Of the size of Llama 405B in 16 bits."""


def choice(facts, previous=None, *, stands=False, **spec) -> Choice:
    decided = decide(deployment(**spec).spec, facts, previous, stands=stands)
    assert isinstance(decided, Choice), decided
    return decided


def tried(facts, **spec) -> list[tuple[int, int]]:
    return [(shape.tensor, shape.pipeline) for shape in candidates(deployment(**spec).spec, facts)]


@pytest.mark.parametrize(
    ("case", "facts", "spec", "expected"),
    [
        ("one node is not enough", BIG, {"engine": {"maxModelLen": 8192}}, Shape(8, 2, 8, "ray")),
        (
            "pods of four: tensor within one, stages over them",
            BIG,
            {"accelerator": {"perPod": 4}, "engine": {"maxModelLen": 8192}},
            Shape(4, 3, 4, "ray"),
        ),
        (
            "small nodes",
            replace(LLAMA_8B, weights_bytes=60 * GIB),
            {"accelerator": {"type": "nvidia-l4", "perPod": 1}, "engine": {"maxModelLen": 2048}},
            Shape(1, 4, 1, "ray"),
        ),
        (
            "the heads forbid more than two: stages within the node",
            replace(LLAMA_8B, attention_heads=34, kv_heads=2, weights_bytes=60 * GIB),
            {"accelerator": {"type": "nvidia-l4"}, "engine": {"maxModelLen": 2048}},
            Shape(2, 2, 4, "mp"),
        ),
        (
            "a pinned width has one stage",
            LLAMA_8B,
            {"parallelism": {"tensor": 2}, "accelerator": {"type": "nvidia-l4"}},
            Shape(2, 1, 2, "mp"),
        ),
        (
            "pinned stages leave the width open",
            BIG,
            {"parallelism": {"pipeline": 4}, "engine": {"maxModelLen": 8192}},
            Shape(4, 4, 4, "ray"),
        ),
    ],
)
def test_the_shape(case, facts, spec, expected):
    assert choice(facts, **spec).shape == expected, case


def test_what_is_tried_and_in_which_order():
    order = tried(LLAMA_8B)
    assert order[:4] == [(1, 1), (2, 1), (4, 1), (8, 1)]
    assert order[4:] == [(8, stages) for stages in range(2, 17)]
    assert tried(LLAMA_8B, accelerator={"perPod": 2})[:4] == [(1, 1), (2, 1), (2, 2), (2, 3)]
    assert tried(TINY)[-1] == (8, 4), "no more stages than layers"


def test_every_shape_that_is_not_taken_is_explained():
    found = choice(BIG, engine={"maxModelLen": 8192})
    assert [str(each).partition(":")[0] for each in found.rejected] == [
        f"tensor {width} x pipeline 1" for width in (1, 2, 4, 8)
    ]
    assert all("leave no room for a KV cache" in each.why for each in found.rejected)


def anatomy(heads: int, width: int, vocabulary: int, **more) -> Anatomy:
    layer = (
        Weight("self_attn.q_proj", heads * 128, 4096),
        Weight("mlp.gate_proj", width, 4096, **more),
        Weight("mlp.down_proj", 4096, width, inner=True, **more),
    )
    return Anatomy((layer,) * 32, (Weight("embed_tokens", vocabulary, 4096, split="vocab"),))


@pytest.mark.parametrize(
    ("case", "heads", "width", "vocabulary", "widths"),
    [
        ("96 heads, all divides", 96, 12288, 3 * 64 * 500, {1, 2, 3, 4, 6, 8}),
        ("the vocabulary does not", 96, 12288, 64 * 500, {1, 2, 4, 8}),
        ("the MLP does not", 96, 8192, 3 * 64 * 500, {1, 2, 4, 8}),
    ],
)
def test_other_widths_than_powers_of_two_only_where_all_divides(case, heads, width, vocabulary, widths):
    facts = replace(LLAMA_8B, attention_heads=heads, kv_heads=heads, anatomy=anatomy(heads, width, vocabulary))
    within = {tensor for tensor, stages in tried(facts) if stages == 1}
    assert within == widths, case
    assert tried(replace(facts, anatomy=None))[:4] == [(1, 1), (2, 1), (4, 1), (8, 1)], "not known: not tried"


@pytest.mark.parametrize(
    ("case", "weight", "parallelism", "words"),
    [
        ("an MLP", {}, {"tensor": 8}, "the 1500 outputs of mlp.gate_proj cannot be cut into 8 equal parts"),
        (
            "blocks of fp8",
            {"rows": 1536, "stored": Stored(8, 4, 128, 128)},
            {"tensor": 8},
            "make parts of 192 for 8 ranks, which end within a block of 128",
        ),
        (
            "experts in blocks",
            {"name": "mlp.experts.0.gate_proj", "rows": 1536, "split": "experts", "stored": Stored(8, 4, 128, 128)},
            {"tensor": 4, "data": 2},
            "end within a block of 128",
        ),
    ],
)
def test_weights_that_cannot_be_cut_are_refused(case, weight, parallelism, words):
    cut_up = Weight(**{"name": "mlp.gate_proj", "rows": 1500, "columns": 4096} | weight)
    facts = replace(LLAMA_8B, experts=8, experts_per_token=2, anatomy=Anatomy(((cut_up,),) * 32, ()))
    spec = deployment(parallelism=parallelism).spec
    found = decide(spec, facts)
    assert not isinstance(found, Choice), case
    assert words in str(found[0])
    if "experts" in cut_up.name:
        whole = candidates(deployment(parallelism=parallelism | {"expert": True}).spec, facts)[0]
        assert isinstance(walk(spec, replace(facts, anatomy=None), accelerator_of(spec), [whole]), Choice)


def test_a_replica_is_made_wide_enough_for_the_requests_that_are_asked_for():
    one = choice(LLAMA_8B, engine={"maxModelLen": 32768})
    many = choice(LLAMA_8B, engine={"maxModelLen": 32768}, fit={"concurrency": 40})
    assert one.shape.ranks < many.shape.ranks
    assert (many.fit.kv_cache_tokens or 0) >= 40 * 32768
    assert "40 requests are asked for at once (spec.fit.concurrency)" in many.rejected[0].why


def test_too_many_requests_at_once_are_refused():
    spec = {"engine": {"maxModelLen": 32768}, "parallelism": {"tensor": 1}, "fit": {"concurrency": 40}}
    (problem,) = decide(deployment(**spec).spec, LLAMA_8B)
    assert problem.reason == "DoesNotFit"
    assert "spec.fit.concurrency" in problem.message
    assert "spec.parallelism.tensor: 4" in problem.remedy


def test_what_was_decided_stands_while_it_may_fit():
    wide = Choice(Shape(8, 1, 8, "mp"), judge(deployment().spec, Shape(8, 1, 8, "mp"), catalog()["nvidia-l4"], None))
    assert choice(LLAMA_8B, wide).shape == wide.shape, "facts that appear do not roll out"
    assert choice(LLAMA_8B, wide).fit.fits == "True", "but they are told"
    assert choice(None, wide) == wide


def test_what_was_decided_goes_where_it_cannot_fit_unless_it_serves():
    narrow = Choice(Shape(1, 1, 1, "uni"), replace(choice(None).fit, memory_per_pod=7))
    cramped = {"accelerator": {"type": "nvidia-l4"}, "engine": {"maxModelLen": 131072}}
    assert choice(LLAMA_8B, narrow, **cramped).shape.tensor == 2
    kept = choice(LLAMA_8B, narrow, stands=True, **cramped)
    assert (kept.shape, kept.fit.fits, kept.fit.memory_per_pod) == (narrow.shape, "False", 7)


def test_with_policy_warn_the_widest_pod_is_started_all_the_same():
    huge = replace(BIG, weights_bytes=10**15)
    (problem,) = decide(deployment().spec, huge)
    assert "not even on 128 accelerators (tensor 8 x pipeline 16)" in problem.message
    warned = choice(huge, fit={"policy": "warn"})
    assert (warned.shape, warned.fit.fits) == (Shape(8, 1, 8, "mp"), "False")


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 2000),
    st.sampled_from([1024, 32768, 131072]),
    st.sampled_from(["nvidia-l4", "nvidia-h200"]),
    st.randoms(use_true_random=False),
)
def test_no_shape_that_fits_has_fewer_accelerators(size, length, kind, draw: random.Random):
    facts = replace(LLAMA_8B, weights_bytes=size * GIB, layers=64)
    spec = deployment(accelerator={"type": kind}, engine={"maxModelLen": length}).spec
    shapes = list(candidates(spec, facts))
    fitting = [each for each in shapes if judge(spec, each, catalog()[kind], facts).fits == "True"]
    found = walk(spec, facts, catalog()[kind], shapes)
    if fitting:
        assert isinstance(found, Choice)
        assert found.shape.ranks == min(each.ranks for each in fitting)
    else:
        assert isinstance(found, Failed) or found.fit.fits == "Unknown"
    draw.shuffle(shapes)
    assert walk(spec, facts, catalog()[kind], shapes) == found, "the order of what is tried says nothing"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5), st.integers(1, 8), st.integers(1, 2000))
def test_halving_tensor_never_lowers_the_weights_of_a_rank(doublings, stages, size):
    facts = replace(LLAMA_8B, weights_bytes=size * 10**9)
    spec = deployment(accelerator={"type": "nvidia-h200"}).spec
    wide, half = (
        judge(spec, cut(spec, 2**power, stages), catalog()["nvidia-h200"], facts)
        for power in (doublings, max(0, doublings - 1))
    )
    assert (half.weights_per_rank or 0) >= (wide.weights_per_rank or 0)


def test_the_largest_model_is_planned_at_once(largest: ModelFacts):
    spec = deployment(accelerator={"type": "nvidia-l4"}).spec
    decide(spec, largest)
    began = time.process_time()
    decide(spec, largest)
    assert time.process_time() - began < 0.5, "under 0.1 s on a quiet machine: all shapes, and the advice"


def test_every_model_of_the_catalog_is_planned_at_once():
    """Less than 100 ms, as the planner promises: 96 at most are measured, and a busy machine has twice that."""
    spec = deployment(accelerator={"type": "nvidia-l4"}, engine={"lora": {"maxLoaded": 8}}).spec

    def took(facts):
        began = time.process_time()
        decide(spec, facts)
        return time.process_time() - began

    slow = {name: entry.facts() for name, entry in entries().items() if took(entry.facts()) >= 0.2}
    # Once more: what else the machine does may have been in the way.
    assert [name for name, facts in slow.items() if min(took(facts) for _ in range(3)) >= 0.2] == []


@pytest.fixture(name="largest")
def largest_model() -> ModelFacts:
    return replace(BIG, weights_bytes=2 * 10**12, layers=128, max_positions=1_000_000)
