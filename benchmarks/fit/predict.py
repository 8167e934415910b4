"""What the planner's arithmetic says of a record: the fourth step of `main.py`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.planning.fit import Fit, judge
from manta_operator.planning.memory.engine_version import default_utilization
from manta_operator.planning.shape import Shape

if TYPE_CHECKING:
    from fit.records import Record
    from manta_operator.facts.accelerators import Accelerator
    from manta_operator.facts.models import ModelFacts

_SPECULATIVE = re.compile(r"MTP num_speculative_tokens=(\d+)")
_LORA = re.compile(r"max_loras=(\d+), max_lora_rank=(\d+)")
_BLOCK = re.compile(r"block[_-]size[ =](\d+)")
_NOT_SAID_BY_A_SPEC = (("cpu_offload", "weights are held in host memory"), ("PP_LAYER_PARTITION", ""))
_CACHE_TYPES = ("auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla", "nvfp4")


@dataclass(frozen=True)
class Predicted:
    """The planner's answer to one record, with the seconds it took."""

    record: Record
    facts: ModelFacts
    fit: Fit
    seconds: float

    @property
    def fits(self) -> bool | None:
        """The verdict by the point estimate; None where nothing could be counted."""
        if self.fit.fits == "Unknown":
            return None if self.fit.margin_per_rank is None else False
        return self.fit.fits == "True"

    @property
    def request_bytes(self) -> int | None:
        """What a request of the longest length takes on one rank."""
        cache, margin = self.fit.kv_cache, self.fit.margin_per_rank
        return None if cache is None or margin is None else int(cache.value) - margin


def uncountable(record: Record) -> str:
    """Return what of a record no spec can say, in words; "" for nothing."""
    return next((words for word, words in _NOT_SAID_BY_A_SPEC if word in record.notes and words), "")


def predict(record: Record, facts: ModelFacts, on: Accelerator) -> Predicted:
    """Ask the planner what a rank of this start-up holds."""
    spec, utilization = spec_of(record), record.utilization or default_utilization(record.version) / 100
    asked = spec.engine.gpu_memory_utilization / 100  # whole percents: the rest goes into the memory
    on = replace(on, memory_bytes=round((on.memory_bytes or 0) * utilization / asked))
    ranks = record.tp * record.pp
    expert = "expert_parallel" in record.notes
    shape = Shape(record.tp, record.pp, ranks, "uni" if ranks == 1 else "mp", 1, expert)
    began = time.perf_counter()
    fit = judge(spec, shape, on, facts, record.version)
    return Predicted(record, facts, fit, time.perf_counter() - began)


def spec_of(record: Record) -> LLMDeploymentSpec:
    """Return the deployment that a record describes."""
    utilization = record.utilization or default_utilization(record.version) / 100
    engine: dict[str, Any] = {
        "dtype": record.dtype if record.dtype in ("bfloat16", "float16", "float32") else "auto",
        "kvCacheDtype": record.kv_dtype if record.kv_dtype in _CACHE_TYPES else "auto",
        "maxModelLen": record.length,
        "maxNumSeqs": record.requests,
        "maxNumBatchedTokens": record.step_tokens,
        "gpuMemoryUtilization": min(99, max(10, round(utilization * 100))),
        "enforceEager": record.eager,
        "prefixCaching": "prefix caching off" not in record.notes,
        "args": _flags(record),
    }
    if speculative := _SPECULATIVE.search(record.notes):
        engine["speculative"] = {"method": "mtp", "tokens": int(speculative.group(1))}
    if room := _LORA.search(record.notes):
        engine["lora"] = {"maxLoaded": int(room.group(1)), "maxRank": max(8, int(room.group(2)))}
    said = {key: value for key, value in engine.items() if value is not None}
    spec = {"model": {"uri": "hf://org/model"}, "accelerator": {"type": "nvidia-h100-80gb"}, "engine": said}
    return LLMDeploymentSpec.model_validate(spec)


def _flags(record: Record) -> list[str]:
    flags = ["--language-model-only"] if "language-model-only" in record.notes else []
    block = _BLOCK.search(record.notes)
    return [*flags, f"--block-size={block.group(1)}"] if block else flags
