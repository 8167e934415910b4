"""Where the engine finds the weights: `spec.model` to vLLM's --model, volumes, and what fetches them before. Pure.

hf://organisation/name     fetched into the cache volume by an init container (`fetching.py`)
s3:// and gs://            the same
pvc://claim/path           the claim, mounted read-only
oci://reference#path       the image, mounted read-only by the kubelet
file:///absolute/path      a folder of the node, mounted read-only
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from manta_operator.api.models import LLMDeploymentSpec, ModelCache, ModelSpec

MODEL_PATH = "/mnt/model"
CACHE_PATH = "/mnt/cache"
FETCHED = ("hf", "s3", "gs")
"""Schemes of models that are fetched into the cache."""
ADDRESS = {
    "hf": ("HF_ENDPOINT",),
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"),
    "gs": ("GOOGLE_BASE_URL",),
}
"""Variables with the address that a model is fetched from; the first is the one that spec.model.endpoint sets."""
_SLUG_LENGTH = 60
_KEY_DIGITS = 10


@dataclass(frozen=True)
class ModelSource:
    """What the pod needs for its model: value of --model, then volumes and the engine's mounts."""

    model: str
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    fetched: bool = False
    """Whether an init container brings the model to its place in the cache, which the engine only reads."""
    node_cache: bool = False
    """Whether the cache is a folder of the node, which the kubelet makes for root alone."""
    pull_secret: str | None = None
    """Name of the Secret with which the kubelet pulls the image of the model."""


def model_source(spec: LLMDeploymentSpec) -> ModelSource:
    """Resolve the URI. The schema has already refused every other scheme."""
    model = spec.model
    scheme, _, rest = model.uri.partition("://")
    if scheme == "file":
        return _mounted({"name": "model", "hostPath": {"path": rest, "type": "Directory"}}, "")
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        return _mounted({"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}, path)
    if scheme == "oci":
        reference, _, path = rest.partition("#")
        return _mounted({"name": "model", "image": {"reference": reference}}, path, model.credentials_secret)
    return ModelSource(
        model=f"{CACHE_PATH}/models/{cache_key(spec)}",
        volumes=[{"name": "cache"} | _cache(model.cache)],
        mounts=[{"name": "cache", "mountPath": CACHE_PATH, "readOnly": True}],
        fetched=True,
        node_cache=model.cache.host_path is not None,
    )


def is_fetched(model: ModelSpec) -> bool:
    """Whether the weights are fetched over the network by a container of the engine's pod."""
    return model.uri.partition("://")[0] in FETCHED


def cache_key(spec: LLMDeploymentSpec) -> str:
    """Return the name of the model's folder in the cache: readable, and another for each source and revision.

    Of two stores that have a bucket of the same name in it, the address makes two.
    """
    model = spec.model
    identity = "\n".join([model.uri.rstrip("/"), model.revision or "", _address(spec)])
    name = "-".join(filter(None, [model.uri.partition("://")[2], model.revision]))
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:_SLUG_LENGTH].rstrip("-.")
    return f"{slug}-{hashlib.sha256(identity.encode()).hexdigest()[:_KEY_DIGITS]}"


def _address(spec: LLMDeploymentSpec) -> str:
    """Return where the fetch asks. In objects from before the schema refused it spec.engine.env may say so: it wins."""
    variables = ADDRESS.get(spec.model.uri.partition("://")[0], ())
    given = [f"{var.name}={var.value or ''}" for var in spec.engine.env if var.name in variables]
    return "\n".join(sorted(given)) or spec.model.endpoint or ""


def _mounted(volume: dict[str, Any], path: str, pull_secret: str | None = None) -> ModelSource:
    mount = {"name": "model", "mountPath": MODEL_PATH, "readOnly": True}
    return ModelSource(f"{MODEL_PATH}/{path}".rstrip("/"), [volume], [mount], pull_secret=pull_secret)


def _cache(cache: ModelCache) -> dict[str, Any]:
    if cache.claim:
        return {"persistentVolumeClaim": {"claimName": cache.claim}}
    if cache.host_path:
        return {"hostPath": {"path": cache.host_path, "type": "DirectoryOrCreate"}}
    return {"emptyDir": {"sizeLimit": cache.size_limit} if cache.size_limit else {}}
