"""What the engines have chosen, by their own word: what the status says of it, and whether it was asked for. Pure.

A flag that vLLM takes is not yet a choice that it made: FLASH_ATTN becomes CPU_ATTN on a CPU, and a method of
quantization may start and leave every layer as it is. The launcher reads the engine's log (GET /facts of the head's
control port); `controller.engine_facts` asks each head once it is ready. What comes back is another container's word:
it is read here, cut to size, and trusted with nothing but this report. Ready does not depend on it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from manta_operator.api.models import EngineSpec, LLMDeploymentSpec
from manta_operator.api.printable import printable
from manta_operator.planning.adapters import lora_of
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit_errors import outside, tokens_short
from manta_operator.planning.observed import Observed
from manta_operator.planning.plan import Plan
from manta_operator.planning.quantization import EXPERTS_ALONE, runs_as

Status = Literal["True", "False", "Unknown"]
_WORDS_LIMIT = 128
_KERNELS = 16
_LARGEST = 2**53
"""Of numbers: nobody has more, and JSON keeps them exact."""
_MOST_GIB = 2**20
"""Of memory: a number beyond it is none."""
_SHOWN = 3


@dataclass(frozen=True)
class EngineFacts:
    """What one engine said; None where it said nothing."""

    version: str | None = None
    attention_backend: str | None = None
    attention_refused: str | None = None
    quantization: str | None = None
    """The method, or none."""
    quantization_kernels: tuple[str, ...] = ()
    quantized_layers: int | None = None
    """Of a method that quantizes while loading."""
    kv_cache_dtype: str | None = None
    kv_cache_tokens: int | None = None
    max_model_len: int | None = None
    max_concurrency: float | None = None
    speculative: str | None = None
    """The method that guesses, or none."""
    speculative_tokens: int | None = None
    weights_bytes: int | None = None
    """Of the fullest rank; told in hundredths of a GiB, as the next two."""
    kv_cache_bytes: int | None = None
    graphs_bytes: int | None = None


@dataclass(frozen=True)
class EngineReport:
    """What was asked for, and what the replicas of the newest revision said, by the name of the pod, in their order."""

    asked: EngineSpec
    on_cpu: bool
    told: tuple[tuple[str, EngineFacts], ...]
    adapters: bool = False
    """They keep room for LoRA adapters."""

    @property
    def one(self) -> EngineFacts:
        """What stands for all: the first one's words, what the poorest can hold, and the most that one takes."""
        first = self.told[0][1]
        every = [facts for _, facts in self.told]
        words = {field.name: getattr(first, field.name) for field in fields(first)}
        for names, choose in ((_LEAST, min), (_MOST, max)):
            for name in names:
                said = [value for facts in every if (value := getattr(facts, name)) is not None]
                words[name] = choose(said, default=None)
        return EngineFacts(**words)

    @property
    def differences(self) -> tuple[str, ...]:
        """Say in what the replicas differ, with one pod for each answer."""
        return tuple(
            f"{name}: " + ", ".join(f"{value} on {pod}" for value, pod in values.items())
            for name, attribute in _COMPARED.items()
            if len(values := self._values(attribute)) > 1
        )

    def _values(self, attribute: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for pod, facts in self.told:
            found.setdefault(_shown(getattr(facts, attribute)), pod)
        return found


_LEAST = ("kv_cache_tokens", "max_concurrency", "kv_cache_bytes")
_MOST = ("weights_bytes", "graphs_bytes")
_COMPARED = {
    "version": "version",
    "attentionBackend": "attention_backend",
    "quantization": "quantization",
    "quantizationKernels": "quantization_kernels",
    "kvCacheDtype": "kv_cache_dtype",
    "maxModelLen": "max_model_len",
    "speculative": "speculative",
}


def read_facts(document: Any) -> EngineFacts | None:
    """Read the answer of GET /facts; None if it is none. What is not what it should be was not said."""
    if not isinstance(document, Mapping):
        return None
    kernels = document.get("quantizationKernels")
    listed = [text for each in kernels[:_KERNELS] if (text := _word(each))] if isinstance(kernels, list) else []
    return EngineFacts(
        version=_word(document.get("version")),
        attention_backend=_word(document.get("attentionBackend")),
        attention_refused=_word(document.get("attentionBackendRefused")),
        quantization=_word(document.get("quantization")),
        quantization_kernels=tuple(listed),
        quantized_layers=_count(document.get("quantizedLayers")),
        kv_cache_dtype=_word(document.get("kvCacheDtype")),
        kv_cache_tokens=_count(document.get("kvCacheTokens")),
        max_model_len=_count(document.get("maxModelLen")),
        max_concurrency=_number(document.get("maxConcurrency")),
        speculative=_word(document.get("speculative")),
        speculative_tokens=_count(document.get("speculativeTokens")),
        weights_bytes=_bytes(document.get("modelGiB")),
        kv_cache_bytes=_bytes(document.get("kvCacheGiB")),
        graphs_bytes=_bytes(document.get("graphsGiB")),
    )


def report(
    spec: LLMDeploymentSpec, observed: Observed, known: Mapping[str, EngineFacts], plan: Plan | None
) -> EngineReport | None:
    """Return what the replicas of the newest revision said; None while none of them has said anything.

    Args:
        spec: What is asked for.
        observed: The replicas that there are.
        known: What heads said, by the uid of the pod.
        plan: It knows the revision; None: the spec cannot be planned.
    """
    groups = [group for group in observed.groups if plan is not None and group.revision == plan.revision]
    pods = [pod for group in groups for pod in group.members]
    told = tuple((pod.name, known[pod.uid]) for pod in pods if known.get(pod.uid, EngineFacts()) != EngineFacts())
    room = lora_of(spec) is not None
    return EngineReport(spec.engine, spec.accelerator.type == "cpu", told, adapters=room) if told else None


def engine_status(found: EngineReport) -> dict[str, Any]:
    """Return `status.engine`."""
    one = found.one
    said: dict[str, Any] = {
        "version": one.version,
        "attentionBackend": one.attention_backend,
        "quantization": one.quantization,
        "quantizationKernels": list(one.quantization_kernels) or None,
        "quantizedLayers": one.quantized_layers,
        "kvCacheDtype": one.kv_cache_dtype,
        "kvCacheTokens": one.kv_cache_tokens,
        "maxModelLen": one.max_model_len,
        "maxConcurrency": one.max_concurrency,
        "speculative": one.speculative,
        "speculativeTokens": one.speculative_tokens,
        "replicas": len(found.told),
        "differences": [each[:1024] for each in found.differences] or None,
    }
    return {name: value for name, value in said.items() if value is not None}


Verdict = tuple[Status, str, str]
"""Status, reason and message of a condition."""


def verdict(plan: Plan, found: EngineReport) -> Verdict:
    """Judge whether the engines are what was asked for and foretold; the first difference is told."""
    for pod, facts in found.told:
        for check in (_attention, _quantization, _speculation, _length):
            if said := check(found.asked, facts, found.on_cpu):
                return (said[0], said[1], f"pod {pod}: {said[2]}")
    if differences := found.differences:
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        told = "; ".join(differences[:_SHOWN])
        return ("False", "ReplicasDiffer", f"{told}{more}; one revision should be one engine: pin spec.engine.image")
    return _cache(plan, found) or ("True", "AsPlanned", summary(found.one))


def _cache(plan: Plan, found: EngineReport) -> Verdict | None:
    """Compare the KV cache with the prediction; an engine tells that of one data rank."""
    tokens, one = found.one.kv_cache_tokens, plan.fit.tokens or plan.fit.kv_cache_tokens
    # What guesses has a cache of its own, and adapters have their room.
    if not one or tokens is None or found.asked.speculative is not None or found.adapters:
        return None
    tokens, said = tokens * plan.shape.data, round(one.value if isinstance(one, Estimate) else one)
    off = outside(one, tokens)
    if tokens_short(one, tokens):
        message = (
            f"the KV cache of a replica holds {tokens} tokens, and {said} were predicted (status.fit): fewer requests "
            "run at a time; something else has taken the memory, or the engine needs more than was counted"
        )
        return ("False", "CacheSmaller", message)
    note = f"; {tokens} tokens of KV cache are {off:+.0%} of the {said} predicted, outside its error bar" if off else ""
    return ("True", "AsPlanned", summary(found.one) + note)


def summary(facts: EngineFacts) -> str:
    """Say what an engine is, in a line."""
    guesses = facts.speculative if facts.speculative not in (None, "none") else None
    parts = {
        "vLLM": facts.version,
        "attention": facts.attention_backend,
        "quantization": facts.quantization,
        "KV cache": f"{facts.kv_cache_tokens} tokens" if facts.kv_cache_tokens is not None else None,
        "guesses by": guesses and f"{guesses}, {facts.speculative_tokens} tokens",
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)


def _attention(asked: EngineSpec, facts: EngineFacts, _: bool) -> Verdict | None:
    wanted, has = asked.attention_backend, facts.attention_backend
    refused = facts.attention_refused or (wanted if wanted != "auto" and has not in (None, wanted) else None)
    if refused is None or refused == has:
        return None
    message = f"attention backend {refused} was asked for, and the engine runs {has or 'another one'} instead"
    return ("False", "AttentionRefused", f"{message}; set spec.engine.attentionBackend to that, or to auto")


def _quantization(asked: EngineSpec, facts: EngineFacts, on_cpu: bool) -> Verdict | None:
    wanted, has = asked.quantization, facts.quantization
    if wanted in ("auto", "none") or has is None:
        return None
    if not runs_as(wanted, has) and has != "online":
        return ("False", "OtherQuantization", f"quantization {wanted} was asked for, and the engine runs {has}")
    if facts.quantized_layers == 0 or (
        facts.quantized_layers is None and wanted in EXPERTS_ALONE and on_cpu and not facts.quantization_kernels
    ):
        message = f"quantization {wanted} was asked for, and no layer is quantized: the weights take their whole size"
        return ("False", "NotQuantized", f"{message}; use another method, or a checkpoint that is quantized")
    if not facts.quantization_kernels and not facts.quantized_layers:
        message = (
            f"the engine takes quantization {wanted}, but says neither which layers it quantized nor with what kernels"
        )
        return ("Unknown", "QuantizationUnclear", message)
    return None


def _speculation(asked: EngineSpec, facts: EngineFacts, _: bool) -> Verdict | None:
    wanted = asked.speculative
    if wanted is None or facts.speculative in (None, wanted.method):
        return None
    return (
        "False",
        "OtherSpeculation",
        f"speculative {wanted.method} was asked for; the engine has {facts.speculative}",
    )


def _length(asked: EngineSpec, facts: EngineFacts, _: bool) -> Verdict | None:
    wanted, has = asked.max_model_len, facts.max_model_len
    if wanted is None or has is None or has == wanted:
        return None
    return ("False", "OtherLength", f"maxModelLen {wanted} was asked for, and the engine takes {has} tokens")


def _word(value: Any) -> str | None:
    return printable(value, _WORDS_LIMIT) or None if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        return None
    return round(float(value), 2) if math.isfinite(value) else None


def _bytes(value: Any) -> int | None:
    gibibytes = _number(value)
    return None if gibibytes is None or gibibytes > _MOST_GIB else round(gibibytes * 2**30)


def _shown(value: Any) -> str:
    if value is None:
        return "not said"
    return " and ".join(value) or "none" if isinstance(value, tuple) else str(value)
