"""Answers other than success, worded as a Kubernetes API server words them; and the Status objects that tell them."""

from collections.abc import Iterable
from typing import Any

from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.cluster import ApiError
from manta_operator.schema.errors import FieldError


def _details(resource: Resource, name: str) -> dict[str, Any]:
    return filled({"name": name, "group": resource.group, "kind": resource.plural})


def filled(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details that say something: a real server leaves empty ones out."""
    return {key: value for key, value in details.items() if value}


def _qualified(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def not_found(resource: Resource, name: str) -> ApiError:
    """404: there is no such object."""
    return ApiError(404, "NotFound", f'{_qualified(resource)} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: the name is taken."""
    message = f'{_qualified(resource)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """409: somebody else changed the object first."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(resource)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def invalid(resource: Resource, name: str, errors: Iterable[FieldError]) -> ApiError:
    """422: the object breaks rules of its kind; one cause for each."""
    return invalid_kind(resource.kind, resource.group, name, errors)


def invalid_kind(kind: str, group: str, name: str, errors: Iterable[FieldError]) -> ApiError:
    """422 for what has no URL of its own, such as a Scale or the options of a patch."""
    found = list(errors)
    what = f"{kind}.{group}" if group else kind
    listed = str(found[0]) if len(found) == 1 else f"[{', '.join(map(str, found))}]"
    causes = [{"reason": _cause(e.kind), "message": e.body, "field": e.path or "<nil>"} for e in found]
    details = filled({"name": name, "group": group, "kind": kind, "causes": causes})
    return ApiError(422, "Invalid", f'{what} "{name}" is invalid: {listed}', details)


def bad_patch(why: str) -> ApiError:
    """422: what a patch makes of the object is no such object."""
    return invalid_kind("", "", "", [FieldError("patch", "Invalid value", why)])


def untyped(resource: Resource, body: dict[str, Any], why: str) -> ApiError:
    """500, as on a real server: what is applied does not fit the schema of its kind."""
    meta = body.get("metadata") or {}
    where = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
    what = f"{where}; {resource.group}/{resource.version}, Kind={resource.kind}"
    return ApiError(500, "", f"failed to create typed patch object ({what}): {why}")


def _cause(kind: str) -> str:
    known = {"Unsupported value": "FieldValueNotSupported", "Too long": "FieldValueTooLong"}
    return known.get(kind, "FieldValue" + kind.removesuffix(" value").title().replace(" ", ""))


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def gone(version: int, oldest: int) -> ApiError:
    """410: the history back to `version` is no longer kept; list again."""
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")


def status_of(error: ApiError) -> dict[str, Any]:
    """Return the Status object that tells a client of an error."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        **filled({"reason": error.reason}),
        "code": error.code,
    }
    if error.details:
        body["details"] = error.details
    return body
