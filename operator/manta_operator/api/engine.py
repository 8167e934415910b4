"""How the engines of an LLMDeployment run: vLLM's options and the resources of an engine pod.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from typing import Annotated

from pydantic import Field

from manta_operator.api.adapters import LoraSpec
from manta_operator.api.choices import AttentionBackend, DType, Executor, KVCacheDType, Quantization
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
    """Type of the KV cache. auto: the type of the activations. fp8 halves the memory of each cached token."""
    attention_backend: AttentionBackend = "auto"
    """Attention kernels, in vLLM's words. auto: vLLM chooses the best for the accelerator and the model."""
    max_model_len: Annotated[int, Field(ge=1, le=2_000_000_000)] | None = None
    """Longest prompt plus answer, in tokens. Omitted: what the model's config.json allows.
    Smaller values leave room for more requests at a time."""
    max_num_seqs: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Most requests that one replica computes at a time; more wait in its queue. Omitted: vLLM's default."""
    gpu_memory_utilization: Annotated[int, Field(ge=10, le=99)] = 90
    """Share of each accelerator's memory for weights, activations and KV cache together, in percent."""
    kv_cache_memory: MemoryQuantity | None = None
    """Size of the KV cache of each rank, for example 20Gi. It overrides gpuMemoryUtilization.
    Omitted: what gpuMemoryUtilization leaves after the weights."""
    prefix_caching: bool = True
    """Keep the KV cache of finished requests, so that a prompt with the same beginning is answered sooner."""
    enforce_eager: bool = False
    """Do not capture CUDA graphs and do not compile: starts sooner, answers more slowly."""
    executor: Executor = "auto"
    """What runs the ranks of a replica: ray (needed for several pods) or mp (processes of one pod).
    auto: ray for several pods, mp for several accelerators in one pod, one process otherwise."""
    lora: LoraSpec | None = None
    """Room for LoRA adapters. Set, engines take spec.model.adapters at any time without a rollout. Omitted: room by
    the defaults as soon as there is an adapter, which starts them anew."""
    args: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], Field(max_length=64)] = ()
    """More flags for vLLM, one flag an item, for example --max-num-batched-tokens=8192.
    Flags that Manta sets itself, and their beginnings, are refused: use the field that the message names.
    A second model of the hub (--tokenizer, --speculative-config) is not fetched before, and the engine asks no hub
    unless spec.engine.env has HF_HUB_OFFLINE=0; podTemplate can give it the HF_TOKEN of a gated one."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """More environment variables for the engine container, and for the one that fetches the model before it
    (HTTPS_PROXY, NO_PROXY)."""
    resources: Resources = Field(default_factory=Resources)
    """CPU and memory requested for every engine pod. Accelerators are requested by spec.accelerator."""
    startup_seconds: Annotated[int, Field(ge=30, le=86400)] = 1800
    """Seconds that a replica may take until it serves, counted from when its weights are there.
    A replica that does not serve by then is restarted. What fetches the weights is not: it gives up by itself."""
