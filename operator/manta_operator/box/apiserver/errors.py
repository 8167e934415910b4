"""Answers other than success, worded as a Kubernetes API server words them; and the Status objects that tell them."""

from collections.abc import Iterable
from typing import Any

from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.cluster import ApiError
from manta_operator.schema.errors import FieldError


def _details(resource: Resource, name: str) -> dict[str, Any]:
    return {"name": name, "group": resource.group, "kind": resource.plural}


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
    found = list(errors)
    what = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    listed = str(found[0]) if len(found) == 1 else f"[{', '.join(map(str, found))}]"
    causes = [{"reason": _cause(e.kind), "message": e.body, "field": e.path or "<nil>"} for e in found]
    details = {"name": name, "group": resource.group, "kind": resource.kind, "causes": causes}
    return ApiError(422, "Invalid", f'{what} "{name}" is invalid: {listed}', details)


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
        "reason": error.reason,
        "code": error.code,
    }
    if error.details:
        body["details"] = error.details
    return body
