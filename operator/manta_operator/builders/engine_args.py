"""The engine container's command line: the launcher's flags, then vLLM's after `--`. Pure.

The runtime parses what is written here; `tests/contract` holds both sides equal.
"""

from manta_operator.api import names
from manta_operator.api.models import EngineSpec, LLMDeployment
from manta_operator.builders.adapters import WANTED, vllm_flags
from manta_operator.builders.draft_model import draft_source
from manta_operator.builders.engine_options import option_flags
from manta_operator.builders.model_source import model_source
from manta_operator.facts.accelerators import Accelerator
from manta_operator.planning.adapters import lora_of
from manta_operator.planning.fit import kv_cache_setting
from manta_operator.planning.shape import Shape

COMMAND = ["manta-runtime", "engine"]


def launcher_args(deployment: LLMDeployment, shape: Shape, accelerator: Accelerator) -> list[str]:
    """Return the launcher's own flags. `$(NAME)` is expanded by the kubelet from the container's environment."""
    spec = deployment.spec
    return [
        "--rank=$(GROUP_RANK)",
        f"--group-size={shape.pods}",
        "--pod-ip=$(POD_IP)",
        "--head=$(GROUP_HEAD)",
        f"--port={names.ENGINE_PORT}",
        f"--control-port={names.CONTROL_PORT}",
        f"--executor={shape.executor}",
        f"--accelerator={'cpu' if accelerator.is_cpu else 'gpu'}",
        f"--accelerators-per-pod={shape.per_pod}",
        f"--startup-seconds={spec.engine.startup_seconds}",
        *_hang(spec.engine),
        f"--drain-seconds={spec.rollout.drain_seconds}",
        *([f"--adapters={WANTED}"] if lora_of(spec) else []),
        *(["--complete-hf-overrides"] if spec.engine.rope_scaling else []),
    ]


def vllm_args(deployment: LLMDeployment, shape: Shape, accelerator: Accelerator) -> list[str]:
    """Return vLLM's flags; the launcher adds host, port and executor."""
    spec = deployment.spec
    source, draft = model_source(spec), draft_source(spec)
    return [
        f"--model={source.model}",
        "--served-model-name",
        *served_names(deployment),
        f"--tensor-parallel-size={shape.tensor}",
        f"--pipeline-parallel-size={shape.pipeline}",
        *([f"--data-parallel-size={shape.data}"] if shape.data > 1 else []),
        *(["--enable-expert-parallel"] if shape.expert else []),
        *_memory(spec.engine, accelerator),
        *_options(spec.engine),
        *option_flags(spec.engine, draft.model if draft else None),
        *vllm_flags(spec),
        "--enable-prompt-tokens-details",  # how many of them the prefix cache had
        # An argument with "$(" would be expanded by the kubelet: "$$" is its escape.
        *([f"--chat-template={spec.model.chat_template.replace('$(', '$$(')}"] if spec.model.chat_template else []),
        *spec.engine.args,
    ]


def served_names(deployment: LLMDeployment) -> tuple[str, ...]:
    """Return the names clients may ask for, the canonical one first."""
    return deployment.spec.model.served_names or (deployment.name,)


def _hang(engine: EngineSpec) -> list[str]:
    # The default is the launcher's, too: an older image, which does not know the flag, goes on serving without it.
    default = EngineSpec.model_fields["hang_seconds"].default
    return [] if engine.hang_seconds == default else [f"--hang-seconds={engine.hang_seconds}"]


def _memory(engine: EngineSpec, accelerator: Accelerator) -> list[str]:
    fixed = kv_cache_setting(engine, accelerator)
    if fixed is not None:
        return [f"--kv-cache-memory-bytes={fixed}"]
    return [f"--gpu-memory-utilization={engine.gpu_memory_utilization / 100:.2f}"]


def _options(engine: EngineSpec) -> list[str]:
    chosen = {
        "dtype": engine.dtype,
        "quantization": engine.quantization,
        "kv-cache-dtype": engine.kv_cache_dtype,
        "attention-backend": engine.attention_backend,
        "max-model-len": engine.max_model_len,
        "max-num-seqs": engine.max_num_seqs,
    }
    flags = [f"--{flag}={value}" for flag, value in chosen.items() if value not in ("auto", "none", None)]
    flags.append("--enable-prefix-caching" if engine.prefix_caching else "--no-enable-prefix-caching")
    if engine.enforce_eager:
        flags.append("--enforce-eager")
    return flags
