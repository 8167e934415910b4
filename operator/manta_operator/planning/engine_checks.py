"""Would the engine take the options of `spec.engine`? The checks of several modules in one place. Pure; before any pod.

said_twice.py      fields whose flags are in spec.engine.args, too
context.py         maxModelLen and ropeScaling against the model
quantization.py    the method against checkpoint, model and accelerator
kernels.py         attention backend and type of the KV cache against the accelerator
dtypes.py          the type of what is not quantized against model and accelerator
"""

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import context, dtypes, kernels, quantization, said_twice
from manta_operator.planning.memory import drafts
from manta_operator.planning.problems import Problem
from manta_operator.planning.rollout_words import Decision

WITHOUT_MTP = (
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration",
    "GptOssForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
)
"""Architectures that vLLM has no MTP for (config/speculative.py): "Unsupported speculative method: mtp"."""


def problems(spec: LLMDeploymentSpec, facts: ModelFacts | None, accelerator: Accelerator) -> tuple[Problem, ...]:
    """Return everything that is certain to stop the engine, or to make it another one than asked for."""
    return (
        *said_twice.problems(spec),
        *context.problems(spec, facts),
        *quantization.problems(spec, facts, accelerator),
        *dtypes.problems(spec, facts, accelerator),
        *kernels.problems(spec, facts, accelerator),
        *_without_mtp(spec, facts),
    )


def _without_mtp(spec: LLMDeploymentSpec, facts: ModelFacts | None) -> tuple[Problem, ...]:
    speculative = spec.engine.speculative
    if speculative is None or speculative.method != "mtp" or facts is None or facts.architecture not in WITHOUT_MTP:
        return ()
    said = f"mtp guesses with layers of the model itself, and {facts.architecture} has none: vLLM refuses that"
    return (Problem("spec.engine.speculative.method", said, "use ngram, or draft_model with a smaller model"),)


def decisions(spec: LLMDeploymentSpec, facts: ModelFacts | None, accelerator: Accelerator) -> tuple[Decision, ...]:
    """Return what is let through although it may not do, or do less than its name says."""
    said = (*quantization.notes(spec, facts, accelerator), *kernels.notes(spec, accelerator), *_draft(spec))
    return tuple(Decision("EngineOption", sentence) for sentence in said)


def _draft(spec: LLMDeploymentSpec) -> tuple[str, ...]:
    speculative, why = spec.engine.speculative, drafts.uncounted(spec.engine)
    return () if speculative is None or why is None else (f"speculative {speculative.method}: {why}",)
