"""Where the engine finds the weights: `spec.model.uri` to vLLM's flags, volumes and environment. Pure.

hf://organisation/name     vLLM downloads into the cache volume
pvc://claim/path           the claim, mounted read-only
file:///absolute/path      a folder of the node, mounted read-only
"""

from dataclasses import dataclass, field
from typing import Any

from manta_operator.api.models import ModelCache, ModelSpec

MODEL_PATH = "/mnt/model"
CACHE_PATH = "/mnt/cache"


@dataclass(frozen=True)
class ModelSource:
    """What the engine's pod needs for its model: value of --model, then volumes, mounts and environment."""

    model: str
    flags: tuple[str, ...] = ()
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    env: list[dict[str, Any]] = field(default_factory=list)
    node_cache: bool = False
    """Whether the cache is a folder of the node, which the kubelet makes for root alone."""


def model_source(model: ModelSpec) -> ModelSource:
    """Resolve the URI. The schema has already refused every other scheme."""
    scheme, _, rest = model.uri.partition("://")
    if scheme == "file":
        return _mounted({"name": "model", "hostPath": {"path": rest, "type": "Directory"}}, MODEL_PATH)
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        volume = {"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        return _mounted(volume, f"{MODEL_PATH}/{path}".rstrip("/"))
    return _from_hub(model, rest)


def _mounted(volume: dict[str, Any], path: str) -> ModelSource:
    mount = {"name": "model", "mountPath": MODEL_PATH, "readOnly": True}
    return ModelSource(model=path, volumes=[volume], mounts=[mount])


def _from_hub(model: ModelSpec, repository: str) -> ModelSource:
    env: list[dict[str, Any]] = [{"name": "HF_HOME", "value": CACHE_PATH}]
    if model.credentials_secret:
        reference = {"name": model.credentials_secret, "key": "HF_TOKEN"}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return ModelSource(
        model=repository,
        flags=(f"--revision={model.revision}",) if model.revision else (),
        volumes=[{"name": "cache"} | _cache(model.cache)],
        mounts=[{"name": "cache", "mountPath": CACHE_PATH}],
        env=env,
        node_cache=model.cache.host_path is not None,
    )


def _cache(cache: ModelCache) -> dict[str, Any]:
    if cache.claim:
        return {"persistentVolumeClaim": {"claimName": cache.claim}}
    if cache.host_path:
        return {"hostPath": {"path": cache.host_path, "type": "DirectoryOrCreate"}}
    return {"emptyDir": {"sizeLimit": cache.size_limit} if cache.size_limit else {}}
