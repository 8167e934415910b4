"""Is anything said twice, by a field and by its flag in `spec.engine.args`? Pure; used by `engine_checks`.

The API server refuses such flags, but lets those stand that an object had before their field was there. vLLM takes the
last of two flags, and `args` come last: the field would not hold, and nobody would be told.
"""

from collections.abc import Mapping

from manta_operator.api.flags import PLANNED_FLAGS, planned_flag
from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.planning.problems import Problem

_LORA = "spec.engine.lora"


def problems(spec: LLMDeploymentSpec) -> tuple[Problem, ...]:
    """Return one problem for each field whose flags are in `args`, too."""
    flags: dict[str, list[str]] = {}
    for arg in spec.engine.args:
        flag = planned_flag(arg)
        field = PLANNED_FLAGS[flag] if flag else ""
        if field.startswith("spec."):
            flags.setdefault(_LORA if field.startswith(_LORA) else field, []).append(arg)
    return tuple(_problem(field, args) for field, args in flags.items() if _is_set(spec, field))


def _is_set(spec: LLMDeploymentSpec, field: str) -> bool:
    """Whether a field, by its path, has another value than its default. The first adapter makes room for itself."""
    if field == _LORA:
        return spec.engine.lora is not None or len(spec.model.adapters) > 0
    value: object = spec.model_dump(by_alias=True, exclude_defaults=True)
    for name in field.split(".")[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value not in (None, {})


def _problem(field: str, args: list[str]) -> Problem:
    said = f"{field} or spec.model.adapters" if field == _LORA else field
    return Problem(
        "spec.engine.args",
        f"{', '.join(args)} would win over what follows from {said}, for vLLM takes the last of two flags",
        f"take {'it' if len(args) == 1 else 'them'} out, and say in {field} what is wanted",
    )
