"""What must hold of the weights of any model: more ranks never hold more each, quantizing never takes more."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_operator.api.models import EngineSpec
from manta_operator.facts import catalog
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.memory.weights import on_rank
from manta_operator.planning.shape import Shape

ONLINE = ("fp8", "fp8_per_block", "fp8_per_channel", "fp8_per_tensor", "mxfp8", "nvfp4_per_token", "experts_int8")


@cache
def models() -> tuple[ModelFacts, ...]:
    """One of each shape of the catalog whose weights are counted."""
    known = {entry.facts() for entry in catalog.entries().values()}
    return tuple(sorted((facts for facts in known if facts.anatomy is not None), key=repr))


def taken(facts: ModelFacts, shape: Shape, method: str = "auto") -> float:
    found = on_rank(EngineSpec.model_validate({"quantization": method}), facts, shape)
    assert isinstance(found, Estimate), found
    assert found.low <= found.value <= found.high
    return found.value


def shape(tensor: int, pipeline: int, data: int, expert: bool) -> Shape:
    return Shape(tensor, pipeline, tensor * pipeline * data, "mp", data, expert)


indices = st.integers(min_value=0, max_value=10_000)
tensors, pipelines, datas = st.sampled_from((1, 2, 4, 8)), st.sampled_from((1, 2, 3, 4)), st.sampled_from((1, 2, 4))


@given(indices, tensors, pipelines, datas, st.booleans())
@settings(max_examples=300, deadline=None)
def test_halving_tensor_never_lowers_the_bytes_of_a_rank(
    index: int, tensor: int, pipeline: int, data: int, expert: bool
) -> None:
    facts = models()[index % len(models())]
    wide = taken(facts, shape(2 * tensor, pipeline, data, expert))
    assert wide <= taken(facts, shape(tensor, pipeline, data, expert))


@given(indices, tensors, datas, st.sampled_from((1, 2, 4)))
@settings(max_examples=300, deadline=None)
def test_twice_as_many_stages_never_raise_the_bytes_of_a_rank(index: int, tensor: int, data: int, stages: int) -> None:
    facts = models()[index % len(models())]
    assert taken(facts, shape(tensor, 2 * stages, data, False)) <= taken(facts, shape(tensor, stages, data, False))


@given(indices, tensors, pipelines, st.sampled_from(ONLINE))
@settings(max_examples=300, deadline=None)
def test_quantizing_never_raises_the_bytes_of_a_rank(index: int, tensor: int, pipeline: int, method: str) -> None:
    facts = models()[index % len(models())]
    on = shape(tensor, pipeline, 1, False)
    assert taken(facts, on, method) <= taken(facts, on)


@pytest.mark.parametrize("data", [2, 4, 8])
def test_data_ranks_share_experts_alone(data: int) -> None:
    for facts in models():
        alone, shared = taken(facts, shape(2, 1, 1, True)), taken(facts, shape(2, 1, data, True))
        assert shared < alone if facts.experts else shared == alone
