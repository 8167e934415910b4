"""What LoRA adapters need in the engines' pods, and the list of them, which is in no pod. Pure; used by `engine_pod`.

The list is a ConfigMap, mounted as a folder: kubelets bring a change of it to pods that run, and no pod is replaced.
In the pod template stands only what a running pod cannot be given: vLLM's room for adapters, the container that fetches
them, the Secrets it may use, and the claims and folders that adapters are mounted from.

    hf:// s3:// gs://      fetched by the container `adapters` into /mnt/cache/adapters/KEY, which the engine only reads
    pvc://claim/path       the claim, mounted read-only at /mnt/adapter-volumes/HASH
    file:///folder/name    the folder, mounted alike
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import AdapterSpec, LLMDeployment, LLMDeploymentSpec
from manta_operator.builders.fetching import KEYS, UNPRIVILEGED
from manta_operator.builders.metadata import metadata
from manta_operator.builders.model_source import (
    CACHE_MOUNT,
    CACHE_PATH,
    FETCHED,
    cache_key,
    cache_volume,
    is_fetched,
)
from manta_operator.planning.adapters import lora_of
from manta_operator.planning.rollout_words import Decision

Object = dict[str, Any]

FILE = "adapters.json"
LIST_PATH = "/mnt/adapters"
WANTED = f"{LIST_PATH}/{FILE}"
SECRETS_PATH = "/mnt/secrets"
VOLUMES_PATH = "/mnt/adapter-volumes"
COMMAND = ["manta-runtime", "adapters"]
_SECRET_MODE = 0o440
_REQUESTS = {"cpu": "10m", "memory": "128Mi"}
"""It sleeps but while it fetches."""
_LIST_MOUNT = {"name": "adapters", "mountPath": LIST_PATH, "readOnly": True}


@dataclass(frozen=True)
class Parts:
    """What the pod template gets where engines take adapters; empty where they do not."""

    containers: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    mounts: tuple[Object, ...] = ()
    """Of the engine."""
    env: tuple[Object, ...] = ()
    """Of the engine."""

    @property
    def names(self) -> frozenset[str]:
        """Names of the engine's variables."""
        return frozenset(variable["name"] for variable in self.env)


def parts(deployment: LLMDeployment, state: Object) -> Parts:
    """Return what the pod template gets; `state` is the mount of the pod's notes, where fetches are told of."""
    spec = deployment.spec
    if lora_of(spec) is None:
        return Parts()
    folders = [_folder(volume) for volume in _volumes(spec)]
    secrets = _secrets(spec)
    cached = is_fetched(spec.model)  # then the model brings the cache along
    return Parts(
        containers=(_container(deployment, state, has_secrets=bool(secrets)),),
        volumes=(
            *(() if cached else (cache_volume(spec.model.cache),)),
            {"name": "adapters", "configMap": {"name": names.adapters_name(deployment.name), "optional": True}},
            *(({"name": "adapter-secrets", "projected": secrets},) if secrets else ()),
            *(volume for volume, _ in folders),
        ),
        mounts=(
            *(() if cached else (CACHE_MOUNT | {"readOnly": True},)),
            _LIST_MOUNT,
            *(mount for _, mount in folders),
        ),
        env=({"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "True"},),
    )


def vllm_flags(spec: LLMDeploymentSpec) -> list[str]:
    """Return the flags with which vLLM keeps room for adapters."""
    lora = lora_of(spec)
    return (
        [] if lora is None else ["--enable-lora", f"--max-lora-rank={lora.max_rank}", f"--max-loras={lora.max_loaded}"]
    )


_NEEDED = "; a claim or folder that is not there keeps new pods from starting, those of the model too"


def config_map(deployment: LLMDeployment) -> Object:
    """Return the ConfigMap of the list that every engine pod reads, the newest and those of other revisions."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, names.adapters_name(deployment.name), names.COMPONENT_ENGINE),
        "data": {FILE: _text(deployment.spec)},
    }


def decisions(spec: LLMDeploymentSpec) -> tuple[Decision, ...]:
    """Return what is decided about adapters: what of them is in the pods, and so costs a rollout when it changes."""
    lora = lora_of(spec)
    if lora is None:
        return ()
    adapters = spec.model.adapters
    mounted = [*(f"Secret {name}" for name in _secret_names(spec)), *(" ".join(volume) for volume in _volumes(spec))]
    many = "1 adapter is" if len(adapters) == 1 else f"{len(adapters)} adapters are"
    message = (
        f"{many} loaded at run time, {lora.max_loaded} in a batch and of rank {lora.max_rank} at most; "
        "changing the list is no rollout, unless that changes what is mounted into the pods: "
        f"{', '.join(mounted) or 'no Secret, claim or folder'}"
        f"{_NEEDED if _volumes(spec) else ''}"
    )
    return (Decision("Adapters", message),)


def _text(spec: LLMDeploymentSpec) -> str:
    listed = [_entry(each, spec) for each in sorted(spec.model.adapters, key=lambda each: each.name)]
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:12]
    return json.dumps({"hash": digest, "adapters": listed}, indent=2) + "\n"


def _entry(adapter: AdapterSpec, spec: LLMDeploymentSpec) -> Object:
    key, volume = cache_key(adapter, spec.engine), _volume(adapter)
    return {
        "name": adapter.name,
        "key": key,
        "path": f"{_mount_path(volume)}/{_rest(adapter)}" if volume else f"{CACHE_PATH}/adapters/{key}",
        "fetch": volume is None,
        "uri": adapter.uri,
        "revision": adapter.revision,
        "endpoint": adapter.endpoint,
        "region": adapter.region,
        "secret": _secret(adapter, spec),
    }


def _volume(adapter: AdapterSpec) -> tuple[str, str] | None:
    """Return what an adapter is mounted from: ("claim", its name) or ("folder", its path); None if it is fetched."""
    scheme, _, rest = adapter.uri.partition("://")
    if scheme == "pvc":
        return "claim", rest.partition("/")[0]
    if scheme == "file":
        return "folder", rest.rstrip("/").rpartition("/")[0].rstrip("/")
    return None


def _volumes(spec: LLMDeploymentSpec) -> list[tuple[str, str]]:
    """Return what adapters are mounted from, each once."""
    found = map(_volume, spec.model.adapters)
    return sorted({volume for volume in found if volume is not None})


def _rest(adapter: AdapterSpec) -> str:
    """Return where an adapter is in what it is mounted from."""
    scheme, _, rest = adapter.uri.partition("://")
    return rest.partition("/")[2].strip("/") if scheme == "pvc" else rest.rstrip("/").rpartition("/")[2]


def _folder(volume: tuple[str, str]) -> tuple[Object, Object]:
    """Return the volume and the engine's mount of a claim or a folder."""
    kind, name = volume
    claim: Object = {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}
    source = claim if kind == "claim" else {"hostPath": {"path": name, "type": "Directory"}}
    path = _mount_path(volume)
    named = f"adapters-{path.rpartition('/')[2]}"
    return {"name": named} | source, {"name": named, "mountPath": path, "readOnly": True}


def _mount_path(volume: tuple[str, str]) -> str:
    return f"{VOLUMES_PATH}/{hashlib.sha256(' '.join(volume).encode()).hexdigest()[:8]}"


def _secret(adapter: AdapterSpec, spec: LLMDeploymentSpec) -> str | None:
    """Return the Secret that an adapter is fetched with. The model's is sent to no other address than the model's."""
    model, scheme = spec.model, adapter.uri.partition("://")[0]
    if adapter.credentials_secret or scheme not in FETCHED:
        return adapter.credentials_secret
    same = model.uri.startswith(f"{scheme}://") and adapter.endpoint == model.endpoint
    return model.credentials_secret if same else None


def _secret_names(spec: LLMDeploymentSpec) -> list[str]:
    """Return the Secrets of the pods. The model's is always there: the first adapter that uses it is no rollout."""
    found = {_secret(each, spec) for each in spec.model.adapters}
    found |= {spec.model.credentials_secret} if is_fetched(spec.model) else set()
    return sorted(name for name in found if name)


def _secrets(spec: LLMDeploymentSpec) -> Object:
    """Return the volume's source: of each Secret the keys that a fetch knows, optional so that no pod waits for one."""
    keys = sorted({key for known in KEYS.values() for key in known})
    sources = [
        {"secret": {"name": name, "optional": True, "items": [{"key": key, "path": f"{name}/{key}"} for key in keys]}}
        for name in _secret_names(spec)
    ]
    return {"defaultMode": _SECRET_MODE, "sources": sources} if sources else {}


def _container(deployment: LLMDeployment, state: Object, *, has_secrets: bool) -> Object:
    """Return the container that fetches adapters beside the engine. It alone sees the credentials."""
    fields = {"POD_IP": "status.podIP", "POD_NAME": "metadata.name"}
    secrets = [{"name": "adapter-secrets", "mountPath": SECRETS_PATH, "readOnly": True}] if has_secrets else []
    return {
        "name": names.ADAPTERS_CONTAINER,
        "image": deployment.spec.engine.image,
        "command": COMMAND,
        "args": [
            f"--wanted={WANTED}",
            f"--told={state['mountPath']}/adapters",
            f"--secrets={SECRETS_PATH}",
            "--pod-ip=$(POD_IP)",
        ],
        "env": [
            *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
            *(var.model_dump(exclude_none=True) for var in deployment.spec.engine.env),
        ],
        "resources": {"requests": _REQUESTS},
        "securityContext": UNPRIVILEGED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [CACHE_MOUNT, _LIST_MOUNT, state, *secrets],
    }
