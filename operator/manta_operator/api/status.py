"""The status of an LLMDeployment: what the controller reports, as frozen models that the CRD is generated from."""

from typing import Annotated, Literal

from pydantic import Field

from manta_operator.api.adapters import MOST_ADAPTERS, AdapterStatus
from manta_operator.api.autoscaling import AutoscalingStatus
from manta_operator.api.fields import Frozen, list_map

Truth = Literal["True", "False", "Unknown"]
Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(max_length=128)]


class Condition(Frozen):
    """One thing that is true, false or not known about the LLMDeployment."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What it is about, for example Available or Ready."""
    status: Truth
    """True, False or Unknown."""
    observed_generation: Count | None = None
    """metadata.generation that this was judged for."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status of this condition last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """The cause in one CamelCase word, for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """The cause in a sentence, and what to do, for people."""


class Decision(Frozen):
    """One thing the operator decided in its last pass."""

    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """The decision in one CamelCase word."""
    message: Annotated[str, Field(max_length=4096)]
    """The decision in a sentence, with its numbers."""


class FitNumbers(Frozen):
    """What one rank or replica takes and holds. What is not known is left out."""

    weights_per_rank: Count | None = None
    """Bytes of weights on the fullest rank."""
    overhead_per_rank: Count | None = None
    """Bytes of activations, CUDA graphs and what is not torch."""
    graphs_per_rank: Count | None = None
    """Bytes of CUDA graphs."""
    kv_cache_per_rank: Count | None = None
    """Bytes of KV cache."""
    kv_cache_tokens: Count | None = None
    """Tokens that the KV cache of a replica holds."""
    concurrency: Annotated[float, Field(ge=0)] | None = None
    """Requests of maxModelLen tokens that it holds at once."""


class Fit(Frozen):
    """Whether one replica fits on its accelerators."""

    fits: Truth
    """Unknown: too little is known of the model or the accelerator, or it is too close to call."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """The arithmetic in a sentence; where it does not fit, what would."""
    basis: Word | None = None
    """What the prediction was read from: checkpoint, catalog or config.json."""
    max_model_len: Count | None = None
    """Longest prompt plus answer that was counted with, in tokens."""
    kv_bytes_per_token: Count | None = None
    """Bytes of KV cache for each token, per rank."""
    margin_per_rank: int | None = None
    """Bytes of KV cache beyond what one request of maxModelLen tokens needs; below 0: that many are missing."""
    predicted: FitNumbers | None = None
    """What the arithmetic says."""
    bounds: Annotated[str, Field(max_length=512)] | None = None
    """Between what the prediction lies, nine times in ten."""
    speed: Annotated[str, Field(max_length=512)] | None = None
    """Estimate of tokens a second and of the time to the first, by a roofline."""
    actual: FitNumbers | None = None
    """What the engines report; of several replicas the least."""


class Devices(Frozen):
    """What engine pods ask nodes for, as the catalog of accelerators said it when they were planned."""

    resource: Word | None = None
    """Extended resource. Omitted: none, they run on cpu."""
    products: Annotated[tuple[Word, ...], Field(max_length=256)] = ()
    """Values of the label nvidia.com/gpu.product that a node must have one of. Omitted: any node will do."""


class Shape(Frozen):
    """How one replica was cut. Kept, so that a checkpoint that cannot be seen for a while changes nothing."""

    tensor: Annotated[int, Field(ge=1)]
    """Ranks that share every layer."""
    pipeline: Annotated[int, Field(ge=1)]
    """Stages that the layers are split into."""
    data: Annotated[int, Field(ge=1)] | None = None
    """Engines of one replica, each of tensor x pipeline ranks. Omitted: 1."""
    expert: bool | None = None
    """Whether ranks hold whole experts. Omitted: they do not."""
    per_pod: Annotated[int, Field(ge=1)]
    """Ranks of each pod, one an accelerator."""
    executor: Literal["uni", "mp", "ray"]
    """What runs the ranks."""
    memory_per_pod: Count | None = None
    """Bytes of host memory each engine pod asks for where spec.engine.resources does not say; only on cpu."""
    spec_hash: Annotated[str, Field(min_length=1, max_length=64)]
    """Hash of the fields of the spec that this was decided from."""
    fit_hash: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Hash of those, and of all others of the spec that the fit depends on."""
    devices: Devices | None = None
    """What its pods ask nodes for. A catalog that changes, or is gone, does not change them."""
    started: bool | None = None
    """Whether pods were made of it: then it stands whatever is known later. Omitted: none yet."""


class EngineEnd(Frozen):
    """How the engine of a replica ended last, other than by being told to."""

    replica: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the replica: its StatefulSet."""
    pod: Annotated[str, Field(max_length=253)]
    """The pod that ended first and has the cause; the others of the replica went with it."""
    exit_code: int
    """Exit code of its container: 10 it hung, 12 a process of it was stopped, 13 it was not ready in time, 14 it was
    told to stop and cut off requests, 137 it was killed; others are vLLM's or Ray's."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Its last words."""
    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When it ended."""


class Engine(Frozen):
    """What the engines of the newest revision have chosen, by their own word. What they did not say is left out."""

    version: Word | None = None
    """Version of vLLM."""
    attention_backend: Word | None = None
    """Attention kernels that run."""
    quantization: Word | None = None
    """Method of quantization, or none. Whether layers are quantized by it says the condition EngineAsPlanned."""
    quantization_kernels: Annotated[tuple[Word, ...], Field(max_length=16)] = ()
    """Kernels that run the quantized layers."""
    quantized_layers: Count | None = None
    """Layers that were quantized while loading."""
    kv_cache_dtype: Word | None = None
    """Type of the KV cache."""
    kv_cache_tokens: Count | None = None
    """Tokens that the KV cache of a replica holds, or of each of its data ranks; of several replicas the least."""
    max_model_len: Count | None = None
    """Longest prompt plus answer, in tokens."""
    max_concurrency: Annotated[float, Field(ge=0)] | None = None
    """Requests of that length that the KV cache holds at a time; of several replicas the least."""
    speculative: Word | None = None
    """Method that guesses, or none."""
    speculative_tokens: Count | None = None
    """Most tokens that are guessed at a time."""
    replicas: Count | None = None
    """Replicas that have said what they chose."""
    differences: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=16)] = ()
    """In what they differ; there should be nothing."""


class LLMDeploymentStatus(Frozen):
    """What the operator has seen and decided. Only the operator writes it."""

    observed_generation: Count | None = None
    """metadata.generation that this status was computed for."""
    replicas: Count | None = None
    """Replicas that exist, ready or not."""
    ready_replicas: Count | None = None
    """Replicas that serve."""
    desired_replicas: Count | None = None
    """Replicas that should serve: spec.replicas, or what the autoscaler asks for."""
    autoscaling: AutoscalingStatus | None = None
    """What the autoscaler asks for, and why."""
    selector: str | None = None
    """Label selector of the head pods, one for each replica, as text: for the scale subresource."""
    endpoint: str | None = None
    """URL of the OpenAI-compatible API, as seen from inside the cluster."""
    revision: str | None = None
    """Hash of everything that makes a new engine pod; replicas carry it in their name."""
    plan: str | None = None
    """What one replica is made of, in a sentence."""
    shape: Shape | None = None
    """How one replica is cut, in numbers."""
    fit: Fit | None = None
    """Whether one replica fits on its accelerators."""
    engine: Engine | None = None
    """What the engines have chosen."""
    adapters: Annotated[
        tuple[AdapterStatus, ...],
        Field(max_length=MOST_ADAPTERS, json_schema_extra=list_map("name")),
    ] = ()
    """How the adapters of spec.model.adapters are."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(max_length=32, json_schema_extra=list_map("type")),
    ] = ()
    """What is true, false or not known, one entry a type."""
    engine_ends: Annotated[
        tuple[EngineEnd, ...],
        Field(max_length=64),
    ] = ()
    """How engines ended by themselves, the latest of each replica whose pods are still there."""
    decisions: Annotated[
        tuple[Decision, ...],
        Field(max_length=64),
    ] = ()
    """What the operator decided in its last pass, and why."""
