"""What every write passes before it is stored: decode, prune, default, validate; the same for HTTP and in process."""

import base64
from dataclasses import dataclass
from typing import Any

from manta_operator.box.apiserver import defaults, kinds, scale, typecheck, validation
from manta_operator.box.apiserver.errors import bad_request, invalid
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.cluster import ApiError
from manta_operator.schema.errors import FieldError

Object = dict[str, Any]


@dataclass(frozen=True)
class Decoded:
    """An object as the server understands it, and the fields it does not know."""

    object: Object
    unknown: tuple[str, ...]


class _Undecodable(ApiError):
    """400: the body is no object of its kind; `why` says it without naming the kind."""

    def __init__(self, resource: Resource, why: str) -> None:
        self.why = why
        where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        super().__init__(400, "BadRequest", f"{where}: {why}")


class WrongType(_Undecodable):
    """400: a value does not have the type of its field."""


class UnknownField(_Undecodable):
    """400: a field that the kind does not have, and the client asked to be strict."""


def decode(resource: Resource, obj: Any) -> Decoded:
    """Check apiVersion, kind and types; drop nulls of built-in kinds and unknown fields.

    Raises:
        ApiError: 400 if this is no such object, or a built-in one with a value of a wrong type.
    """
    if not isinstance(obj, dict):
        raise bad_request("the body must be a JSON or YAML object")
    named = (obj.get("apiVersion") or resource.api_version, obj.get("kind") or resource.kind)
    if named != (resource.api_version, resource.kind):
        raise bad_request(
            f"the object is a {named[1]} of {named[0]}, the URL wants {resource.kind} of {resource.api_version}"
        )
    found = typecheck.Decoded()
    meta = typecheck.decode(kinds.child(_META_HOLDER, "metadata"), obj.get("metadata") or {}, found, "metadata")
    body = {**obj, "apiVersion": named[0], "kind": named[1], "metadata": meta}
    if not isinstance(meta, dict):
        raise bad_request("metadata must be an object")
    if resource.schema is not None:
        body, unknown = resource.schema.prune(body)
        found.unknown += unknown
    else:
        rest = {key: value for key, value in body.items() if key != "metadata"}
        decoded = typecheck.decode(kinds.root(resource), rest, found)
        body = {"apiVersion": named[0], "kind": named[1], "metadata": meta, **decoded}
        if resource.kind == "Secret" and not found.wrong:
            body = _with_encoded_text(body)
    if found.wrong:
        raise WrongType(resource, "; ".join(found.wrong))
    return Decoded(body, tuple(found.unknown))


def _with_encoded_text(secret: Object) -> Object:
    """Move a Secret's stringData, which is for writing alone, into its data."""
    text = secret.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
    return secret | {"data": (secret.get("data") or {}) | encoded} if encoded else secret


_META_HOLDER: kinds.Node = {
    "properties": {"metadata": {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}
}


def with_defaults(resource: Resource, obj: Object) -> Object:
    """Return a copy with the defaults of its kind."""
    if resource.schema is not None:
        filled: Object = resource.schema.default(obj)
        return filled
    done: Object = defaults.default(kinds.root(resource), obj)
    return done


def check(resource: Resource, obj: Object, old: Object | None) -> None:
    """Validate a decoded and defaulted object; ApiError 422 with everything that is wrong."""
    errors = validation.validate_metadata(resource, obj)
    if resource.schema is not None:
        errors += [*resource.schema.validate(obj, old), *scale.negative(resource, obj)]
    else:
        missing = typecheck.missing(kinds.root(resource), obj)
        errors += [FieldError(path, "Required value", "") for path in missing]
        if not missing:
            errors += validation.validate(resource, obj, old)
    if errors:
        raise invalid(resource, obj["metadata"].get("name", ""), errors)


def judge_unknown(resource: Resource, unknown: tuple[str, ...], mode: str) -> list[str]:
    """Return warnings for unknown fields, as `fieldValidation` asks; ApiError 400 if it is Strict."""
    if not unknown or mode == "Ignore":
        return []
    texts = [f'unknown field "{path}"' for path in unknown]
    if mode == "Strict":
        raise UnknownField(resource, f"strict decoding error: {', '.join(texts)}")
    return texts
