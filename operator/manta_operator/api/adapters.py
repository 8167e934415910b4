"""LoRA adapters: which a deployment serves beside its model, what its engines keep free for them, and how they are.

Part of the frozen models; `model.py`, `engine.py` and `status.py` have them as fields.
"""

from typing import Annotated, Literal

from pydantic import Field

from manta_operator.api.fields import (
    ADAPTER_PATTERN,
    ENDPOINT_PATTERN,
    REGION_PATTERN,
    Frozen,
    ObjectName,
    ShortText,
)

MOST_ADAPTERS = 64
"""Adapters of one deployment."""


class AdapterSpec(Frozen):
    """One LoRA adapter: clients name it in the field "model" of a request, as they name the model itself."""

    name: Annotated[str, Field(pattern=ADAPTER_PATTERN, max_length=128)]
    """Name that clients ask for. Unique, and none of the names of the model."""
    uri: Annotated[str, Field(min_length=1, max_length=1024)]
    """Where the adapter comes from: hf://organisation/name, s3://bucket/prefix, gs://bucket/prefix,
    pvc://claim/path or file:///folder/adapter: a folder with adapter_config.json and adapter_model.safetensors.
    Of a claim, or a folder's parent, that no adapter has yet, it is a rollout: it has to be mounted."""
    revision: ShortText | None = None
    """Branch, tag or commit on the Hugging Face Hub; hf:// only. Another one replaces the adapter at run time.
    Omitted: the newest of the main branch when it is first fetched."""
    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=512)] | None = None
    """Address of another hub (hf://) or store (s3://, gs://) than the public one; that of the model does not count
    here. Omitted: huggingface.co, AWS, Google Cloud."""
    region: Annotated[str, Field(pattern=REGION_PATTERN, max_length=64)] | None = None
    """Region of the bucket, for example eu-central-1; s3:// only. Omitted: us-east-1."""
    credentials_secret: ObjectName | None = None
    """Name of a Secret in the same namespace, with the keys of spec.model.credentialsSecret. A Secret that nothing else
    here names is a rollout. Omitted: the model's, where scheme and endpoint are the model's, too; else none."""


class LoraSpec(Frozen):
    """What the engines keep free for LoRA adapters. It costs memory of the accelerator, used or not."""

    max_rank: Annotated[int, Field(ge=8)] = 16
    """Highest rank ("r" in adapter_config.json) of an adapter: 8, 16, 32, 64, 128, 256, 320 or 512. An adapter with a
    higher one is not loaded. The memory for adapters grows with it."""
    max_loaded: Annotated[int, Field(ge=1, le=MOST_ADAPTERS)] = 4
    """Adapters that one engine computes with at a time; requests for more wait for each other. The memory grows with
    it, too. spec.model.adapters may be longer."""


AdapterState = Literal["Loaded", "Loading", "Fetching", "Waiting", "Failed", "Unloading", "Unknown"]
MOST_REPLICAS_TOLD = 16
"""Replicas of an adapter that a status names; etcd takes no more than 1.5 MiB of an object."""


class AdapterReplica(Frozen):
    """How one replica is with one adapter."""

    replica: Annotated[int, Field(ge=0)]
    """Number of the replica."""
    pod: Annotated[str, Field(min_length=1, max_length=253)]
    """Its head pod."""
    state: AdapterState
    """Loaded: it answers for it. Fetching, Waiting, Loading: it will. Failed: the message says why. Unloading: it was
    replaced and still answers requests. Unknown: the pod does not say."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What is so, in a sentence; of a failure vLLM's own words."""


class AdapterStatus(Frozen):
    """How one of spec.model.adapters is."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """Its name."""
    loaded: Annotated[int, Field(ge=0)]
    """Replicas that have loaded it."""
    replicas: Annotated[tuple[AdapterReplica, ...], Field(max_length=MOST_REPLICAS_TOLD)] = ()
    """Its state on each replica; of more than 16 those that have trouble come first."""
