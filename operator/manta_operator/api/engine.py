"""How the engines of an LLMDeployment run: vLLM's options and the resources of an engine pod.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from typing import Annotated

from pydantic import Field

from manta_operator.api.adapters import LoraSpec
from manta_operator.api.choices import AttentionBackend, DType, Executor, KVCacheDType, Quantization
from manta_operator.api.engine_options import RopeScaling, Speculative, StructuredOutputs
from manta_operator.api.engine_words import ReasoningParser, ToolCallParser
from manta_operator.api.fields import (
    ENV_NAME_PATTERN,
    CpuQuantity,
    Frozen,
    MemoryQuantity,
    list_map,
)
from manta_operator.api.names import RUNTIME_IMAGE


class Resources(Frozen):
    """CPU and memory that the scheduler reserves for a pod."""

    cpu: CpuQuantity | None = None
    """CPU cores requested, for example 4 or 500m. Omitted: no request."""
    memory: MemoryQuantity | None = None
    """Memory requested (not GPU memory), for example 64Gi. Omitted: no request."""


class EnvVar(Frozen):
    """One environment variable of the engine container, and of the one that fetches the model before it."""

    name: Annotated[str, Field(pattern=ENV_NAME_PATTERN, max_length=128)]
    """Name of the variable. Unique in the list. The names that Manta sets itself are refused, and the addresses of hubs
    and stores (HF_ENDPOINT, AWS_ENDPOINT_URL): use spec.model.endpoint."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Value of the variable, in clear text: for a secret use podTemplate with valueFrom. Omitted: the empty text."""


class EngineSpec(Frozen):
    """How vLLM runs the model. Omitted fields follow the model's own config.json and vLLM's defaults."""

    image: Annotated[str, Field(min_length=1, max_length=512)] = RUNTIME_IMAGE
    """Container image of the engine pods: vLLM, Ray and manta-runtime."""
    dtype: DType = "auto"
    """Type of weights and activations that are not quantized. auto: what the checkpoint says."""
    quantization: Quantization = "auto"
    """Quantization method, in vLLM's words. auto: what the checkpoint says; none: refuse a quantized one, where the
    operator can read the checkpoint (elsewhere status.fit says that it is unchecked).
    Names such as fp8_per_tensor quantize while loading."""
    kv_cache_dtype: KVCacheDType = "auto"
    """Type of the KV cache. auto: what a quantized checkpoint says, else the type of the activations.
    fp8 halves the memory of each cached token."""
    attention_backend: AttentionBackend = "auto"
    """Attention kernels, in vLLM's words. auto: vLLM chooses the best for the accelerator and the model."""
    max_model_len: Annotated[int, Field(ge=1, le=2_000_000_000)] | None = None
    """Longest prompt plus answer, in tokens. Omitted: what the model's config.json allows, times ropeScaling.factor.
    Smaller values leave room for more requests at a time."""
    rope_scaling: RopeScaling | None = None
    """Longer contexts than the model was trained for. Omitted: what its config.json says."""
    max_num_seqs: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Most requests that one replica computes at a time; more wait in its queue. Omitted: vLLM's default."""
    max_num_batched_tokens: Annotated[int, Field(ge=1, le=2_000_000_000)] | None = None
    """Most tokens that one step computes, prompts and answers together. Larger: more throughput, and longer waits
    between the tokens of others. Omitted: vLLM's default."""
    chunked_prefill: bool | None = None
    """Cut long prompts into pieces of maxNumBatchedTokens, so that they hold up nobody. false: a prompt is computed in
    one step. Omitted: vLLM's default, which is to cut where the model allows it."""
    gpu_memory_utilization: Annotated[int, Field(ge=10, le=99)] = 90
    """Share of each accelerator's memory for weights, activations and KV cache together, in percent."""
    kv_cache_memory: MemoryQuantity | None = None
    """Size of the KV cache of each rank, for example 20Gi. It overrides gpuMemoryUtilization.
    Omitted: what gpuMemoryUtilization leaves after the weights."""
    prefix_caching: bool = True
    """Keep the KV cache of finished requests, so that a prompt with the same beginning is answered sooner."""
    speculative: Speculative | None = None
    """Guess tokens and check them together. Omitted: one token at a time."""
    tool_call_parser: ToolCallParser | None = None
    """What reads calls of tools out of the model's answers, in vLLM's words; it also lets a request leave it to the
    model whether to call one (tool_choice: auto). Omitted: answers are text."""
    reasoning_parser: ReasoningParser | None = None
    """What tells the model's reasoning from its answer, in vLLM's words. Omitted: both are the answer."""
    structured_outputs: StructuredOutputs = Field(default_factory=StructuredOutputs)
    """How answers are held to a JSON schema, a grammar or a choice, where a request asks for it."""
    enforce_eager: bool = False
    """Do not capture CUDA graphs and do not compile: starts sooner, answers more slowly."""
    executor: Executor = "auto"
    """What runs the ranks of a replica: ray (needed for several pods) or mp (processes of one pod).
    auto: ray for several pods, mp for several accelerators in one pod, one process otherwise."""
    lora: LoraSpec | None = None
    """Room for LoRA adapters. Set, engines take spec.model.adapters at any time without a rollout. Omitted: room by
    the defaults as soon as there is an adapter, which starts them anew."""
    args: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], Field(max_length=64)] = ()
    """More flags for vLLM, one flag an item, for example --seed=7. Flags that Manta sets itself, and their
    beginnings, are refused: use the field that the message names. A second model of the hub (--tokenizer) is
    not fetched before; the engine asks the hub only with HF_HUB_OFFLINE=0 in spec.engine.env."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """More environment variables for the engine container, and for the one that fetches the model before it
    (HTTPS_PROXY, NO_PROXY)."""
    resources: Resources = Field(default_factory=Resources)
    """CPU and memory requested for every engine pod. Accelerators are requested by spec.accelerator."""
    startup_seconds: Annotated[int, Field(ge=30, le=86400)] = 1800
    """Seconds that a replica may take until it serves, counted from when its weights are there. Then it is
    restarted."""
    hang_seconds: Annotated[int, Field(ge=60, le=86400)] = 300
    """Seconds that requests may wait without a step of the engine before it counts as hung and its replica starts
    again. After 60 s already it gets no new requests. More only where one step may take that long."""
