"""How long a context the engine allows, and whether that is what the spec asks for. Pure; before any pod starts.

    without ropeScaling    what the model was made for                       facts/context.py
    with it                original length x factor, where `original` is the model's own unless the spec names one

vLLM refuses a longer maxModelLen when it starts; here it is refused before.
"""

from manta_operator.api.models import EngineSpec, LLMDeploymentSpec
from manta_operator.facts.context import SEVERAL
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.problems import Problem

_ALLOW_LONG = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_OVERRIDES = ("--hf-overrides", "--hf-config-path")


def allowed_length(engine: EngineSpec, facts: ModelFacts) -> int | None:
    """Return the longest prompt plus answer that the engine allows, in tokens; None where that is not known."""
    scaling = engine.rope_scaling
    if scaling is None:
        return facts.max_positions
    original = scaling.original_max_position_embeddings or facts.max_positions
    return None if original is None else int(original * scaling.factor)


def problems(spec: LLMDeploymentSpec, facts: ModelFacts | None) -> tuple[Problem, ...]:
    """Return why vLLM would refuse the length, as far as it is certain."""
    engine = spec.engine
    if facts is None:
        return ()
    if engine.rope_scaling is not None and (found := _unscalable(engine, facts)):
        return (found,)
    allowed, asked = allowed_length(engine, facts), engine.max_model_len
    if asked is None or allowed is None or asked <= allowed or _users_own(engine):
        return ()
    scaling = engine.rope_scaling
    if scaling is None:
        said = f"{asked} tokens are more than the {allowed} that {facts.architecture} was made for"
        factor = -(-asked // allowed)
        remedy = (
            f"use {allowed} or less, or scale its positions with spec.engine.ropeScaling "
            f"(type: yarn, factor: {factor}), if the model is known to bear it"
        )
    else:
        said = f"{asked} tokens are more than ropeScaling gives: {allowed} with factor {scaling.factor:g}"
        remedy = f"use {allowed} or less, or raise spec.engine.ropeScaling.factor"
    return (Problem("spec.engine.maxModelLen", said, remedy),)


def _unscalable(engine: EngineSpec, facts: ModelFacts) -> Problem | None:
    scaling, own = engine.rope_scaling, facts.rope_scaling
    if scaling is None or own is None:
        return None
    if own == SEVERAL:
        return Problem(
            "spec.engine.ropeScaling",
            f"the layers of {facts.architecture} have rotary positions of {SEVERAL}, and one scaling does not fit all",
            "leave it out, or write --hf-overrides for each kind into spec.engine.args",
        )
    if scaling.original_max_position_embeddings:
        return None
    return Problem(
        "spec.engine.ropeScaling",
        f"{facts.architecture} scales its positions itself ({own}), and this would take the place of that",
        "leave it out, or say in originalMaxPositionEmbeddings from which length the new scaling counts",
    )


def _users_own(engine: EngineSpec) -> bool:
    """Whether the user has taken the length into their own hands, by ways that are theirs."""
    flags = [flag.partition("=")[0].partition(".")[0].replace("_", "-") for flag in engine.args]
    allowed = any(
        var.name == _ALLOW_LONG and (var.value or "0").lower() not in ("0", "false", "") for var in engine.env
    )
    return allowed or any(len(flag) > len("--hf-") and own.startswith(flag) for flag in flags for own in _OVERRIDES)
