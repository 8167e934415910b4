"""Which model an LLMDeployment serves, where its weights come from and where they are kept.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from typing import Annotated

from pydantic import Field

from manta_operator.api.adapters import MOST_ADAPTERS, AdapterSpec
from manta_operator.api.fields import (
    ENDPOINT_PATTERN,
    REGION_PATTERN,
    SET,
    AbsolutePath,
    Frozen,
    MemoryQuantity,
    ObjectName,
    ShortText,
    list_map,
)


class ModelCache(Frozen):
    """Where fetched weights are kept: at most one of the fields. With none, emptyDir without a limit."""

    claim: ObjectName | None = None
    """Name of a PersistentVolumeClaim in the same namespace. With several engine pods: ReadWriteMany."""
    host_path: AbsolutePath | None = None
    """Absolute path of a folder on the node, shared by the engine pods there. Created if it is missing."""
    size_limit: MemoryQuantity | None = None
    """Largest size of the emptyDir, for example 200Gi. Omitted: no limit but the node's disk."""


class ModelSpec(Frozen):
    """Which model is served, where its weights come from, and under which names clients ask for it."""

    uri: Annotated[str, Field(min_length=1, max_length=1024)]
    """Where the weights come from: hf://organisation/name (Hugging Face Hub), s3://bucket/prefix,
    gs://bucket/prefix, pvc://claim/path (a PersistentVolumeClaim in the same namespace),
    oci://registry/repository:tag#path (an image that Kubernetes mounts; @sha256:… instead of :tag pins it; without
    #path its root is the model) or file:///absolute/path (a folder that exists on every node that may run an
    engine)."""
    revision: ShortText | None = None
    """Branch, tag or commit on the Hugging Face Hub; hf:// only. Omitted: the newest of the main branch."""
    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=512)] | None = None
    """Address of another hub (hf://) or store (s3://, gs://) than the public one, for example http://minio.minio:9000.
    Omitted: huggingface.co, AWS, Google Cloud."""
    region: Annotated[str, Field(pattern=REGION_PATTERN, max_length=64)] | None = None
    """Region of the bucket, for example eu-central-1; s3:// only. Omitted: us-east-1."""
    served_names: Annotated[tuple[ShortText, ...], Field(max_length=16, json_schema_extra=SET)] = ()
    """Names that clients put into the field "model" of a request. The first is the canonical one.
    Empty: metadata.name is the only name."""
    credentials_secret: ObjectName | None = None
    """Name of a Secret in the same namespace. hf://: key HF_TOKEN; s3://: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
    and, if need be, AWS_SESSION_TOKEN; gs://: GOOGLE_SERVICE_ACCOUNT_KEY, the account's JSON; oci://: a pull secret.
    Only what fetches the weights sees it, when it starts. Omitted: nothing secret, or the identity of the pod."""
    cache: ModelCache = Field(default_factory=ModelCache)
    """Where fetched weights are kept (hf://, s3://, gs://). Empty: an emptyDir, so every new pod fetches again."""
    chat_template: Annotated[str, Field(min_length=1, max_length=65536)] | None = None
    """A Jinja chat template, written out. Omitted: the template that comes with the model's tokenizer."""
    adapters: Annotated[
        tuple[AdapterSpec, ...], Field(max_length=MOST_ADAPTERS, json_schema_extra=list_map("name"))
    ] = ()
    """LoRA adapters that every replica loads, and unloads again, while it serves: a change of the list is no
    rollout, but for the first one and the last one unless spec.engine.lora is set."""
