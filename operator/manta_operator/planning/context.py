"""How long a context the engine allows, and whether that is what the spec asks for. Pure; before any pod starts.

    without ropeScaling    what the model was made for                       facts/context.py
    with it                original length x factor, where `original` is the model's own unless the spec names one
    nothing asked          that; of longrope, the length that it extends; 2,048 where the model does not say one

vLLM refuses a longer maxModelLen when it starts, and without chunkedPrefill a step that is shorter than the longest
prompt; here both are refused before.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.api.models import EngineSpec, LLMDeploymentSpec
from manta_operator.facts.context import SEVERAL
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.problems import Problem

UNSAID = 2048
"""What vLLM takes where config.json says no length (config/model.py, _get_and_verify_max_len)."""
_ALLOW_LONG = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_ENGINE = "engine"
"""The container that vLLM runs in."""
_OVERRIDES = ("--hf-overrides", "--hf-config-path")


def allowed_length(engine: EngineSpec, facts: ModelFacts) -> int | None:
    """Return the longest prompt plus answer that the engine allows, in tokens; None where that is not known."""
    scaling = engine.rope_scaling
    if scaling is None:
        return facts.max_positions
    original = scaling.original_max_position_embeddings or facts.max_positions
    return None if original is None else int(original * scaling.factor)


def length(engine: EngineSpec, facts: ModelFacts) -> int:
    """Return the longest prompt plus answer that the engine takes, in tokens; UNSAID where nothing says it."""
    return _known(engine, facts) or UNSAID


def _known(engine: EngineSpec, facts: ModelFacts) -> int | None:
    if engine.max_model_len is not None:
        return engine.max_model_len
    own = facts.default_positions if engine.rope_scaling is None else None
    return own or allowed_length(engine, facts)


def problems(spec: LLMDeploymentSpec, facts: ModelFacts | None) -> tuple[Problem, ...]:
    """Return why vLLM would refuse the length, as far as it is certain."""
    engine = spec.engine
    if facts is None:
        return ()
    if engine.rope_scaling is not None and (found := _unscalable(engine, facts)):
        return (found,)
    if _users_own(spec):
        return ()
    found = _too_long(engine, facts) or _whole_prompts(engine, facts)
    return () if found is None else (found,)


def _too_long(engine: EngineSpec, facts: ModelFacts) -> Problem | None:
    allowed, asked, scaling = allowed_length(engine, facts), engine.max_model_len, engine.rope_scaling
    if asked is None or allowed is None or asked <= allowed:
        return None
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
    return Problem("spec.engine.maxModelLen", said, remedy)


def _whole_prompts(engine: EngineSpec, facts: ModelFacts) -> Problem | None:
    step, longest = engine.max_num_batched_tokens, _known(engine, facts)
    if engine.chunked_prefill is not False or step is None or longest is None or step >= longest:
        return None
    return Problem(
        "spec.engine.maxNumBatchedTokens",
        f"without chunkedPrefill a prompt is computed in one step, and {step} tokens are fewer than the {longest} that "
        "a prompt may have",
        f"raise it to {longest}, set spec.engine.maxModelLen to {step} or less, or leave chunkedPrefill out",
    )


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


def _users_own(spec: LLMDeploymentSpec) -> bool:
    """Whether the user has taken the length into their own hands, by ways that are theirs."""
    flags = [flag.partition("=")[0].partition(".")[0].replace("_", "-") for flag in spec.engine.args]
    overridden = any(len(flag) > len("--hf-") and own.startswith(flag) for flag in flags for own in _OVERRIDES)
    return overridden or _allowed_by_hand(spec)


def _allowed_by_hand(spec: LLMDeploymentSpec) -> bool:
    """Whether vLLM takes any length, or may: what podTemplate reads from elsewhere cannot be seen here."""
    container = _engine_container(spec.pod_template)
    if any(container.get(key) for key in ("args", "command", "envFrom")):
        return True
    said = {var.name: var.value for var in spec.engine.env}
    listed = container.get("env")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, Mapping):
            said[str(entry.get("name"))] = "elsewhere" if entry.get("valueFrom") else str(entry.get("value", ""))
    return (said.get(_ALLOW_LONG) or "0").strip().lower() not in ("0", "false")


def _engine_container(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a pod template says of the engine's container: of any shape, for nobody has judged it yet."""
    pod = template.get("spec")
    containers = pod.get("containers") if isinstance(pod, Mapping) else None
    found = [each for each in containers if isinstance(each, Mapping)] if isinstance(containers, list) else []
    return next((each for each in found if each.get("name") == _ENGINE), {})
