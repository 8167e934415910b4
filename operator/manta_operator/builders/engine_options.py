"""vLLM's flags for the options of `spec.engine` that take more than one value, or stand for more than one flag. Pure.

speculative            --speculative-config                     JSON, with the path of the weights that guess
ropeScaling            --hf-overrides                           JSON; the launcher adds what only the model knows
toolCallParser         --tool-call-parser, --enable-auto-tool-choice
reasoningParser        --reasoning-parser
structuredOutputs      --structured-outputs-config              JSON
maxNumBatchedTokens    --max-num-batched-tokens
chunkedPrefill         --enable-chunked-prefill, or --no-…
"""

import json
from typing import Any

from manta_operator.api.engine_options import RopeScaling, Speculative, StructuredOutputs
from manta_operator.api.models import EngineSpec

LLAMA3_FREQUENCIES = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
"""What every Llama since 3.1 has in its config.json."""


def option_flags(engine: EngineSpec, draft: str | None) -> list[str]:
    """Return the flags.

    Args:
        engine: What is asked for.
        draft: Path of the weights that guess, if there are any.
    """
    flags = []
    if engine.speculative:
        flags.append(_json("--speculative-config", speculative_config(engine.speculative, draft)))
    if engine.rope_scaling:
        flags.append(_json("--hf-overrides", {"rope_parameters": rope_parameters(engine.rope_scaling)}))
    if engine.tool_call_parser:
        flags += ["--enable-auto-tool-choice", f"--tool-call-parser={engine.tool_call_parser}"]
    if engine.reasoning_parser:
        flags.append(f"--reasoning-parser={engine.reasoning_parser}")
    if engine.structured_outputs != StructuredOutputs():
        # Every field has its default in vLLM, too; those are left to it.
        chosen = engine.structured_outputs.model_dump(exclude_defaults=True)
        flags.append(_json("--structured-outputs-config", chosen))
    if engine.max_num_batched_tokens is not None:
        flags.append(f"--max-num-batched-tokens={engine.max_num_batched_tokens}")
    if engine.chunked_prefill is not None:
        flags.append("--enable-chunked-prefill" if engine.chunked_prefill else "--no-enable-chunked-prefill")
    return flags


def speculative_config(speculative: Speculative, draft: str | None) -> dict[str, Any]:
    """Return vLLM's SpeculativeConfig."""
    config = {
        "method": speculative.method,
        "num_speculative_tokens": speculative.tokens,
        "model": draft,
        "prompt_lookup_max": speculative.prompt_lookup_max,
        "prompt_lookup_min": speculative.prompt_lookup_min,
    }
    return {key: value for key, value in config.items() if value is not None}


def rope_parameters(scaling: RopeScaling) -> dict[str, Any]:
    """Return what the spec says of `rope_parameters`, in the words of Transformers.

    It takes the place of the model's own as a whole, also of the base of its frequencies (`rope_theta`), and the
    operator may not see the checkpoint: `manta_runtime.engine.rope` adds the rest where the engine starts.
    """
    said: dict[str, Any] = {"rope_type": scaling.type, "factor": scaling.factor}
    if scaling.original_max_position_embeddings is not None:
        said["original_max_position_embeddings"] = scaling.original_max_position_embeddings
    return said | (LLAMA3_FREQUENCIES if scaling.type == "llama3" else {})


def _json(flag: str, value: dict[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"{flag}={text.replace('$(', '$$(')}"  # the kubelet expands "$(NAME)": "$$" is its escape
