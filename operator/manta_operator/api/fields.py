"""Field types shared by the models: what a quantity, a name or a path may look like, and how long it may be.

Bounds exist for two reasons: a user's typo is refused early, and the API server must be able to prove that
the CEL rules which walk over these values are cheap.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

CPU_PATTERN = r"^(0\.[0-9]*[1-9][0-9]*|[1-9][0-9]*(\.[0-9]+)?|[1-9][0-9]*m)$"
MEMORY_PATTERN = r"^(0\.[0-9]*[1-9][0-9]*|[1-9][0-9]*(\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"
ENV_NAME_PATTERN = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
PATH_PATTERN = r"^/[^/].*$"
ACCELERATOR_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
RESOURCE_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$"
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
HOSTNAME_PATTERN = r"^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
AUTO_PATTERN = "^auto$"
CACHE_SIZE_PATTERN = r"^([1-9][0-9]{0,5}(\.[0-9]+)?Mi?|[1-9][0-9]{0,2}(\.[0-9]+)?Gi?)$"
TENANT_PATTERN = r"^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$"
ADAPTER_PATTERN = r"^[a-zA-Z0-9]([-._:/a-zA-Z0-9]*[a-zA-Z0-9])?$"
HEADER_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
COLLECTOR_PATTERN = rf"^http://{_LABEL}([.]{_LABEL})*(:{_PORT})?(/[-A-Za-z0-9._~/]*)?$"

ENDPOINT_PATTERN = rf"^https?://{_LABEL}([.]{_LABEL})*(:{_PORT})?(/[-A-Za-z0-9._~]+)*$"
REGION_PATTERN = r"^[a-z0-9][-a-z0-9]*$"


def _number_to_text(value: Any) -> Any:
    """Return `cpu: 4` as `"4"`: users write whole quantities without quotes, and Kubernetes lets them."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _quantity_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": pattern, "minimum": 1, "maxLength": 32})


CpuQuantity = Annotated[
    str, BeforeValidator(_number_to_text), Field(pattern=CPU_PATTERN), _quantity_schema(CPU_PATTERN)
]
MemoryQuantity = Annotated[
    str, BeforeValidator(_number_to_text), Field(pattern=MEMORY_PATTERN), _quantity_schema(MEMORY_PATTERN)
]
AutoOrCount = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=0, le=1000)],
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": AUTO_PATTERN, "minimum": 0, "maximum": 1000}),
]
ObjectName = Annotated[str, Field(pattern=OBJECT_NAME_PATTERN, max_length=253)]
ShortText = Annotated[str, Field(min_length=1, max_length=253)]
AbsolutePath = Annotated[str, Field(pattern=PATH_PATTERN, max_length=1024)]


SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}


def list_map(*keys: str) -> dict[str, Any]:
    """Return the schema words of a list whose items are told apart by `keys`: server-side apply merges such lists."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class Frozen(BaseModel):
    """Base of every model: immutable, refuses unknown fields, camelCase in YAML, snake_case in Python."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )
