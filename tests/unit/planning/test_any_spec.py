"""Any spec over models and accelerators of the catalog: what the user pinned stands, advice that is given holds."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import catalog
from manta_operator.facts.catalog import entries
from manta_operator.planning.advice import advise
from manta_operator.planning.fit import accelerator_of
from manta_operator.planning.patches import patched
from manta_operator.planning.roofline import estimate
from manta_operator.planning.search import Choice, decide

MODELS = (
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-235B-A22B-FP8",
    "deepseek-ai/DeepSeek-R1",
    "google/gemma-3-27b-it",
    "microsoft/phi-4",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "openai/gpt-oss-120b",
)
FACTS = {name: entries()[name].facts() for name in MODELS}


def some(**fields):
    """A part of a spec with some of these fields."""
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in fields.items()})


SPECS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS).map(lambda name: {"uri": f"hf://{name}"}),
        "accelerator": st.builds(
            lambda kind, more: {"type": kind} | more,
            st.sampled_from(list(catalog())),
            some(perPod=[1, 2, 3, 4, 8, 16]),
        ),
        "parallelism": some(tensor=[1, 2, 3, 4, 5, 8, 16], pipeline=[1, 2, 3, 7], data=[1, 2, 4], expert=[True]),
        "engine": some(
            maxModelLen=[16, 100, 4096, 131072, 1_000_000],
            maxNumSeqs=[1, 8, 1024],
            quantization=["fp8_per_channel", "awq", "none"],
            kvCacheDtype=["fp8"],
            kvCacheMemory=["1Gi", "100Gi"],
            executor=["mp", "ray"],
        ),
        "fit": some(concurrency=[5, 100], policy=["warn"]),
    }
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPECS)
def test_any_spec_is_decided_and_its_advice_holds(said):
    spec = LLMDeploymentSpec.model_validate(said)
    facts = FACTS[spec.model.uri.removeprefix("hf://")]
    decided = decide(spec, facts)
    if isinstance(decided, Choice):
        shape = decided.shape
        assert shape.ranks % shape.per_pod == 0
        assert spec.accelerator.per_pod in (None, shape.per_pod)
        for name in ("tensor", "pipeline", "data"):
            assert getattr(spec.parallelism, name) in (None, getattr(shape, name))
        estimate(spec, shape, accelerator_of(spec), facts, decided.fit)
        return
    assert all(problem.message and problem.remedy for problem in decided)
    for advice in advise(spec, facts, most=3):
        found = decide(patched(spec, advice.patch), facts)
        assert isinstance(found, Choice), (advice.text, found)
        assert found.fit.fits == "True", advice.text
