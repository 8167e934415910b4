"""More memory never fits worse, with the defaults that vLLM chooses by memory: but where it chooses more of them."""

from hypothesis import given, settings
from hypothesis import strategies as st
from make import deployment

from manta_operator.api.models import LLMDeploymentSpec, ParallelismSpec
from manta_operator.facts import catalog
from manta_operator.facts.models import ModelFacts, from_config
from manta_operator.planning.advice import advise
from manta_operator.planning.choice import Choice
from manta_operator.planning.fit import accelerator_of
from manta_operator.planning.walk import walk

ONE = ParallelismSpec(tensor=1)
STEPS = (70, 160)
"""GiB from which on vLLM computes more requests, and more tokens, in a step (engine/arg_utils.py)."""
ORDER = {"False": 0, "Unknown": 1, "True": 2}
NAMES = (
    "Qwen/Qwen3-14B",
    "google/gemma-3-27b-it",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "deepseek-ai/DeepSeek-R1",
    "openai/gpt-oss-120b",
)
MODELS = {name: from_config(catalog.entries()[name].config) for name in NAMES}


def asked(memory: int, **engine: object) -> LLMDeploymentSpec:
    other = {"type": "other", "resource": "nvidia.com/gpu", "memory": f"{memory}Gi"}
    return deployment(accelerator=other, engine={"maxModelLen": 8192} | engine).spec


def found(facts: ModelFacts, spec: LLMDeploymentSpec) -> tuple[int, int]:
    """Return how sure it is to fit, then how few accelerators it takes."""
    choice = walk(spec, facts, accelerator_of(spec))
    return (ORDER[choice.fit.fits], -choice.shape.ranks) if isinstance(choice, Choice) else (0, 0)


@given(st.sampled_from(NAMES), st.integers(16, 288), st.integers(1, 100))
@settings(deadline=None, max_examples=60)
def test_more_memory_never_fits_worse_nor_takes_more_accelerators(name, memory, more):
    crossed = any(memory < step <= memory + more for step in STEPS)
    pinned = {"maxNumSeqs": 256, "maxNumBatchedTokens": 2048} if crossed else {}
    less, greater = (found(MODELS[name], asked(each, **pinned)) for each in (memory, memory + more))
    assert less <= greater


def test_where_vllm_computes_more_at_once_fewer_requests_are_advised():
    """From 70 GiB on there are 1,024 requests in a step, whose states have no room where those of 256 may have."""
    facts = from_config(catalog.entries()["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"].config)
    below, above = (asked(memory).model_copy(update={"parallelism": ONE}) for memory in (69, 70))
    assert found(facts, below) > found(facts, above)
    fewer = asked(70, maxNumSeqs=256, maxNumBatchedTokens=2048).model_copy(update={"parallelism": ONE})
    assert found(facts, below) <= found(facts, fewer)
    texts = [way.text for way in advise(above, facts, accelerators=())]
    assert any("maxNumSeqs: " in text for text in texts), texts
