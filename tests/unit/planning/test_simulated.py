"""The engine that is simulated says of the roofline's requests what the roofline says of them."""

from pathlib import Path

import pytest

from manta_operator.cli.facts import Lookup
from manta_operator.cli.manifests import plan_files
from manta_operator.planning.simulated import engine
from manta_operator.scaling.simulation.trace import Request

EXAMPLES = Path(__file__).parents[3] / "examples"


def planned(name):
    entry = plan_files([EXAMPLES / name], Lookup())[0]
    plan = entry.desired.plan
    return plan, engine(entry.deployment.spec, plan.shape, plan.accelerator, entry.facts, plan.fit)


@pytest.mark.parametrize(
    "name",
    ["llama-8b.yaml", "llama-70b-tensor4.yaml", "llama-405b-multinode.yaml", "qwen-fp8.yaml", "qwen-long-tools.yaml"],
)
def test_it_is_as_fast_as_the_roofline_says(name):
    plan, model = planned(name)
    said = plan.performance
    request = Request(0.0, said.prompt, said.answer)
    assert 1 / model.step(1, 0, 0.0, said.prompt + said.answer // 2) == pytest.approx(said.alone.value, rel=0.02)
    assert model.work(request) == pytest.approx(said.answer / said.together.value, rel=0.1)
    # Of several stages a prompt goes through one after the other, and the simulation through all of them at once.
    first = (said.first_token.value - 0.02) / plan.shape.pipeline
    assert model.per_prefill_token * said.prompt == pytest.approx(first, rel=0.05)


def test_it_holds_what_the_fit_says():
    plan, model = planned("llama-8b.yaml")
    assert model.kv_tokens == plan.fit.kv_cache_tokens
    assert (model.sequences, model.step_tokens) == (256, 2048)


def test_what_is_not_known_is_not_made_up():
    assert planned("tiny.yaml")[1] is None
    assert planned("llama-gaudi.yaml")[1] is None
