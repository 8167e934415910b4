"""The init containers that bring a model into the cache, before the engine starts. Pure; used by `engine_pod`.

    cache-owner   gives a cache on the node to the engine's user (spec.model.cache.hostPath alone)
    fetch         `manta-runtime fetch`: the model, complete and verified, or the reason why not
    fetch-draft   the same for the weights that guess (spec.engine.speculative.model)

Only they see the credentials. Its environment is the engine's own otherwise, so that proxies hold for both.
"""

from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.draft_model import draft_source
from manta_operator.builders.model_source import ADDRESS, CACHE_MOUNT, CACHE_PATH, ModelSource, Weights, model_source
from manta_operator.planning.adapters import lora_of

Object = dict[str, Any]

COMMAND = ["manta-runtime", "fetch"]
KEYS = {
    "hf": {"HF_TOKEN": True},
    "s3": {"AWS_ACCESS_KEY_ID": True, "AWS_SECRET_ACCESS_KEY": True, "AWS_SESSION_TOKEN": False},
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": True},
}
"""Keys of a credentialsSecret, and whether the Secret must have them."""
UNPRIVILEGED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def init_containers(deployment: LLMDeployment, requests: Object, user: int) -> list[Object]:
    """Return what runs before the engine, in this order; nothing where the weights are there already.

    Args:
        deployment: What is asked for.
        requests: What the engine's container requests: as much here costs the pod nothing.
        user: User and group of the engine.
    """
    spec = deployment.spec
    fetched: list[tuple[str, Weights, ModelSource]] = []
    if (source := model_source(spec)).fetched:
        fetched.append((names.FETCH_CONTAINER, spec.model, source))
    speculative, draft = spec.engine.speculative, draft_source(spec)
    if speculative and speculative.model and draft and draft.fetched:
        fetched.append((names.FETCH_DRAFT_CONTAINER, speculative.model, draft))
    cached = fetched or lora_of(spec) is not None
    owner = [_cache_owner(spec.engine.image, user)] if cached and spec.model.cache.host_path else []
    return [*owner, *(fetch_container(deployment, *each, requests) for each in fetched)]


def _cache_owner(image: str, user: int) -> Object:
    """Return the container that gives a cache on the node to the engine: fsGroup does not apply to hostPath volumes."""
    return {
        "name": "cache-owner",
        "image": image,
        "command": ["chown", f"{user}:{user}", CACHE_PATH],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["CHOWN"], "drop": ["ALL"]},
            "runAsNonRoot": False,
            "runAsUser": 0,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [CACHE_MOUNT],
    }


def fetch_container(
    deployment: LLMDeployment, name: str, weights: Weights, source: ModelSource, requests: Object
) -> Object:
    """Return the container that brings weights to their place in the cache.

    Args:
        deployment: What is asked for.
        name: Name of the container.
        weights: What is fetched.
        source: Where it is to stand.
        requests: What the container requests.
    """
    return {
        "name": name,
        "image": deployment.spec.engine.image,
        "command": COMMAND,
        "args": [
            # The kubelet expands "$(NAME)" in arguments: "$$" is a dollar.
            f"--uri={weights.uri.replace('$', '$$')}",
            *([f"--revision={weights.revision.replace('$', '$$')}"] if weights.revision else []),
            f"--to={source.model}",
            "--pod-ip=$(POD_IP)",
            f"--control-port={names.CONTROL_PORT}",
        ],
        "env": _environment(deployment, weights),
        "resources": {"requests": requests} if requests else {},
        "securityContext": UNPRIVILEGED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [CACHE_MOUNT],
    }


def _environment(deployment: LLMDeployment, weights: Weights) -> list[Object]:
    """Return the environment: what spec.engine.env sets wins over what follows from the weights."""
    given = [var.model_dump(exclude_none=True) for var in deployment.spec.engine.env]
    taken = {var["name"] for var in given}
    fields = {"POD_IP": "status.podIP", "POD_NAME": "metadata.name"}
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        *(var for var in _of_the_weights(weights) if var["name"] not in taken),
        *given,
    ]


def _of_the_weights(weights: Weights) -> list[Object]:
    scheme = weights.uri.partition("://")[0]
    found: list[Object] = [{"name": ADDRESS[scheme][0], "value": weights.endpoint}] if weights.endpoint else []
    if weights.region:
        found.append({"name": "AWS_REGION", "value": weights.region})
    for key, required in KEYS[scheme].items() if weights.credentials_secret else ():
        reference: Object = {"name": weights.credentials_secret, "key": key}
        found.append(
            {"name": key, "valueFrom": {"secretKeyRef": reference if required else reference | {"optional": True}}}
        )
    return found
