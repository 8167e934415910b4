"""Changes of a spec, as merge patches: applied, and said in words. Pure; what advice.py is made of."""

from collections.abc import Mapping
from typing import Any

from manta_operator.api.models import LLMDeploymentSpec

Patch = Mapping[str, Any]
"""A JSON merge patch (RFC 7396) of `spec`, in the words of the YAML: None leaves a field out."""


def patched(spec: LLMDeploymentSpec, patch: Patch) -> LLMDeploymentSpec:
    """Return the spec with a patch applied. Raises pydantic.ValidationError where the API would not take it."""
    return LLMDeploymentSpec.model_validate(_merged(spec.model_dump(by_alias=True, exclude_defaults=True), patch))


def merged(*patches: Patch) -> dict[str, Any]:
    """Return one patch that does what these do, one after the other."""
    result: dict[str, Any] = {}
    for patch in patches:
        for key, value in patch.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result


def in_words(patch: Patch) -> str:
    """Return the fields that a patch sets, and those that it leaves out."""
    said = list(_fields(patch, "spec"))
    sets = [f"{path}: {_yaml(value)}" for path, value in said if value is not None]
    leaves = [path for path, value in said if value is None]
    without = [f"without {' and '.join(leaves)}"] if leaves else []
    return ", ".join([" and ".join(sets), *without] if sets else without)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields(patch: Patch, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in patch.items():
        found += _fields(value, f"{path}.{key}") if isinstance(value, Mapping) else [(f"{path}.{key}", value)]
    return found


def _merged(target: Any, patch: Patch) -> dict[str, Any]:
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result
