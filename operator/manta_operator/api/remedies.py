"""What to do about an error of the schema, where its own words do not say it."""

from types import MappingProxyType

from manta_operator.api import fields
from manta_operator.schema import errors
from manta_operator.schema.errors import FieldError, closest

_BY_PATTERN = MappingProxyType(
    {
        fields.CPU_PATTERN: "write cores, for example 4 or 500m",
        fields.MEMORY_PATTERN: "write a size, for example 512Mi or 64Gi",
        fields.PATH_PATTERN: "write an absolute path, which starts with /",
        fields.OBJECT_NAME_PATTERN: "write the name of a Kubernetes object: lower-case letters, digits, - and .",
        fields.ACCELERATOR_PATTERN: "write a kind such as nvidia-h100-80gb or cpu: lower-case letters, digits and -",
        fields.RESOURCE_PATTERN: "write the name of an extended resource, for example amd.com/gpu",
        fields.ENDPOINT_PATTERN: "write an address such as https://hub.example.com, no / at the end",
        fields.ENV_NAME_PATTERN: "write letters, digits, _, - and ., no digit first",
    }
)
_REQUIRED = MappingProxyType(
    {
        "spec": "say what to serve: spec: {model: {uri: …}, accelerator: {type: …}}",
        "spec.model": "say which model to serve, for example model: {uri: hf://organisation/name}",
        "spec.model.uri": "say where the weights are, for example hf://organisation/name",
        "spec.accelerator": "say what to compute on, for example accelerator: {type: nvidia-h100-80gb}, or cpu",
        "spec.accelerator.type": "say what to compute on, for example nvidia-h100-80gb, or cpu",
    }
)


def remedy_for(error: FieldError) -> str:
    """Return what the user can do about `error`; empty where its message says it."""
    if error.kind == errors.REQUIRED and not error.message:
        return _REQUIRED.get(error.path, "add it")
    if error.kind == errors.UNSUPPORTED:
        supported = [word.strip().strip('"') for word in error.message.partition(": ")[2].split(",")]
        likely = closest(error.value.strip('"'), supported)
        return f'did you mean "{likely}"?' if likely else ""
    if error.kind == errors.DUPLICATE:
        return "remove one of them"
    if 'must be of type integer,string: "number"' in error.message:
        return 'put the number in quotes, for example "1.5"'
    if 'must be of type string: "' in error.message:
        return "put the value in quotes"
    matches = (remedy for pattern, remedy in _BY_PATTERN.items() if f"'{pattern}'" in error.message)
    return next(matches, "")
