"""What vLLM's versions do differently with memory. Pure; `CURRENT` is the one that our image carries.

The planner plans for `CURRENT`. The older ones are here because the start-ups that the arithmetic is checked against
(benchmarks/fit) are of vLLM 0.6 to 0.28, and because a user may name an image of their own.
"""

from manta_operator.facts.accelerators import Accelerator

Version = tuple[int, int]
CURRENT: Version = (0, 32)
_GIB = 2**30
_ONE_ENGINE: Version = (0, 8)
"""From here on V1 is the engine."""


def default_utilization(version: Version) -> int:
    """Return vLLM's own --gpu-memory-utilization in percent: config/cache.py, raised in 0.20."""
    return 92 if version >= (0, 20) else 90


def graphs_in_budget(version: Version) -> bool:
    """Whether CUDA graphs count against the utilisation: announced for 0.21, and seen in the start-ups of 0.20."""
    return version >= (0, 20)


def sampler_bytes(version: Version) -> float:
    """Return what sampling takes at its peak for one value of the vocabulary and one request, in bytes.

    0.8 to 0.16 sort the float32 logits of the profiling run: values, indices, probabilities and their sums. 38.4
    bytes explain 12 start-ups of three models to 0.1 GiB; since then 16 do (benchmarks/fit).
    """
    if version < _ONE_ENGINE:
        return 4.0
    return 38.4 if version < (0, 17) else 16.0


def chunks_are_freed(version: Version) -> bool:
    """Whether layers that attend to chunks give back what is behind them.

    VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE was off by default until about 0.22, and is on in 0.32.
    """
    return version >= (0, 22)


def states_are_cached(version: Version) -> bool:
    """Whether prefix caching is on by default for recurrent layers, which then keep two states for a sequence."""
    return version >= (0, 29)


def steps_in_flight(version: Version, stages: int, on: Accelerator) -> int:
    """Return how many steps are computed but not settled: async scheduling, which CPUs lack, has one more."""
    return stages + 1 if version >= (0, 20) and not on.is_cpu else stages


def whole_model_is_checked(version: Version) -> bool:
    """Whether vLLM asks a stage of a pipeline for the cache of all layers before it starts: a fault until 0.15."""
    return version < (0, 16)


def most_tokens(version: Version, accelerator: Accelerator, length: int, ranks: int) -> int:
    """Return vLLM's --max-num-batched-tokens of an API server (engine/arg_utils.py, get_batch_defaults)."""
    if accelerator.is_cpu:
        return 2048 * ranks
    if version < _ONE_ENGINE:  # without chunks a prompt is one step; beyond 32,768 tokens V0 took chunks of 2,048
        return 2048 if length > 32_768 else max(2048, length)
    memory = accelerator.memory_bytes or 0
    if memory >= 160 * _GIB and version >= (0, 12):
        return 16_384
    return 8192 if _is_large(accelerator) else 2048


def most_requests(version: Version, accelerator: Accelerator, ranks: int) -> int:
    """Return vLLM's --max-num-seqs of an API server (engine/arg_utils.py, get_batch_defaults)."""
    if accelerator.is_cpu:
        return 128 * ranks
    return 1024 if version >= _ONE_ENGINE and _is_large(accelerator) else 256


def _is_large(accelerator: Accelerator) -> bool:
    """Whether vLLM takes it for an H100 or more: 70 GiB, but no A100."""
    return (accelerator.memory_bytes or 0) >= 70 * _GIB and "a100" not in accelerator.type.lower()


def parse(text: str) -> Version | None:
    """Return the version that a text such as "0.11.2+rhai1" begins with; None where it names none."""
    parts = text.strip().removeprefix("v").split(".")
    if len(parts) < 2 or not parts[0].isdecimal():
        return None
    minor = "".join(character for character in parts[1][:3] if character.isdecimal())
    return (int(parts[0]), int(minor)) if minor and parts[1][0].isdecimal() else None
