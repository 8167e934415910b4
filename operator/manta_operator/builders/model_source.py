"""Where the engine finds weights: a URI to a path in the pod, volumes, and whether something fetches them before. Pure.

hf://organisation/name     fetched into the cache volume by an init container (`fetching.py`)
s3:// and gs://            the same
pvc://claim/path           the claim, mounted read-only
oci://reference#path       the image, mounted read-only by the kubelet
file:///absolute/path      a folder of the node, mounted read-only

`spec.model` is the first of what is resolved so; whatever else names weights with the same fields is resolved alike.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from manta_operator.api.models import EngineSpec, LLMDeploymentSpec, ModelCache

MODEL_PATH = "/mnt/model"
CACHE_PATH = "/mnt/cache"
CACHE_MOUNT = {"name": "cache", "mountPath": CACHE_PATH}
"""Of who writes there; the engine only reads."""
FETCHED = ("hf", "s3", "gs")
"""Schemes of models that are fetched into the cache."""
ADDRESS = {
    "hf": ("HF_ENDPOINT",),
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"),
    "gs": ("GOOGLE_BASE_URL",),
}
"""Variables with the address that weights are fetched from; the first is the one that `endpoint` sets."""
_SLUG_LENGTH = 60
_KEY_DIGITS = 10


class Weights(Protocol):
    """What says where weights come from: `spec.model`, and every other part of the spec that has these fields."""

    @property
    def uri(self) -> str:
        """Scheme and place."""

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit of a hub."""

    @property
    def endpoint(self) -> str | None:
        """Address of another hub or store than the public one."""

    @property
    def region(self) -> str | None:
        """Region of a bucket."""

    @property
    def credentials_secret(self) -> str | None:
        """Name of the Secret with which it is fetched or pulled."""


@dataclass(frozen=True)
class Place:
    """Where weights of one kind stand in the engine's pod."""

    volume: str
    """Name of the volume of what is mounted."""
    path: str
    """Where that is mounted."""
    folder: str
    """Folder of the cache for what is fetched."""


MODEL = Place(volume="model", path=MODEL_PATH, folder="models")


@dataclass(frozen=True)
class ModelSource:
    """What the pod needs for its weights: their path (value of --model), then volumes and the engine's mounts."""

    model: str
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    fetched: bool = False
    """Whether an init container brings the model to its place in the cache, which the engine only reads."""
    pull_secret: str | None = None
    """Name of the Secret with which the kubelet pulls the image of the model."""


def model_source(spec: LLMDeploymentSpec) -> ModelSource:
    """Resolve `spec.model`."""
    return weights_source(spec.model, spec, MODEL)


def weights_source(weights: Weights, spec: LLMDeploymentSpec, place: Place) -> ModelSource:
    """Resolve a URI. The schema has already refused every other scheme.

    Args:
        weights: What is resolved.
        spec: The spec it is a part of: of its cache, and of its engine's environment.
        place: Where they are to stand.
    """
    scheme, _, rest = weights.uri.partition("://")
    if scheme == "file":
        return _mounted(place, {"hostPath": {"path": rest, "type": "Directory"}}, "")
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        return _mounted(place, {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}, path)
    if scheme == "oci":
        reference, _, path = rest.partition("#")
        return _mounted(place, {"image": {"reference": reference}}, path, weights.credentials_secret)
    return ModelSource(
        model=f"{CACHE_PATH}/{place.folder}/{cache_key(weights, spec.engine)}",
        volumes=[cache_volume(spec.model.cache)],
        mounts=[CACHE_MOUNT | {"readOnly": True}],
        fetched=True,
    )


def is_fetched(weights: Weights) -> bool:
    """Whether the weights are fetched over the network by a container of the engine's pod."""
    return weights.uri.partition("://")[0] in FETCHED


def cache_key(weights: Weights, engine: EngineSpec) -> str:
    """Return the name of the weights' folder in the cache: readable, and another for each source and revision.

    Of two stores that have a bucket of the same name in it, the address makes two.
    """
    identity = "\n".join([weights.uri.rstrip("/"), weights.revision or "", _address(weights, engine)])
    name = "-".join(filter(None, [weights.uri.partition("://")[2], weights.revision]))
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:_SLUG_LENGTH].rstrip("-.")
    return f"{slug}-{hashlib.sha256(identity.encode()).hexdigest()[:_KEY_DIGITS]}"


def cache_volume(cache: ModelCache) -> dict[str, Any]:
    """Return the volume that weights are fetched into."""
    return {"name": CACHE_MOUNT["name"]} | _cache(cache)


def _address(weights: Weights, engine: EngineSpec) -> str:
    """Return where the fetch asks. In objects from before the schema refused it spec.engine.env may say so: it wins."""
    variables = ADDRESS.get(weights.uri.partition("://")[0], ())
    given = [f"{var.name}={var.value or ''}" for var in engine.env if var.name in variables]
    return "\n".join(sorted(given)) or weights.endpoint or ""


def _mounted(place: Place, volume: dict[str, Any], path: str, pull_secret: str | None = None) -> ModelSource:
    mount = {"name": place.volume, "mountPath": place.path, "readOnly": True}
    named = {"name": place.volume} | volume
    return ModelSource(f"{place.path}/{path}".rstrip("/"), [named], [mount], pull_secret=pull_secret)


def _cache(cache: ModelCache) -> dict[str, Any]:
    if cache.claim:
        return {"persistentVolumeClaim": {"claimName": cache.claim}}
    if cache.host_path:
        return {"hostPath": {"path": cache.host_path, "type": "DirectoryOrCreate"}}
    return {"emptyDir": {"sizeLimit": cache.size_limit} if cache.size_limit else {}}
