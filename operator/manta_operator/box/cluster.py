"""What the box's controllers and kubelet may do to the cluster: the in-process face of the API server.

Same validation, defaulting and versioning as over HTTP; no network. The API server implements it, `workloads` and
`kubelet` use it.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Object = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One change, in the order the store made it. `object` is a private copy."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object


class ApiError(Exception):
    """An answer other than success: HTTP code, Kubernetes reason (`NotFound`, `Conflict`) and a message for people."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})


class Cluster(Protocol):
    """Kinds are named as in manifests (`Pod`, `StatefulSet` …); namespace is None for cluster-scoped kinds.

    Every returned object is a copy the caller may change. Every method raises ApiError as the API server would.
    """

    def get(self, kind: str, namespace: str | None, name: str) -> Object:
        """Read one object; ApiError 404 if there is none."""

    def find(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """Read one object, None if there is none."""

    def list(self, kind: str, namespace: str | None = None, selector: Mapping[str, str] | None = None) -> list[Object]:
        """All objects of a kind, oldest first; `selector` is equality on labels."""

    def create(self, obj: Object) -> Object:
        """Create; the object names its kind, apiVersion and namespace."""

    def update(self, obj: Object) -> Object:
        """Replace all but status; metadata.resourceVersion, when present, must be the stored one (409 Conflict)."""

    def update_status(self, obj: Object) -> Object:
        """Replace the status alone; resourceVersion as in update."""

    def patch(self, kind: str, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch of all but status."""

    def patch_status(self, kind: str, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch of the status subresource: patch = {"status": {...}}."""

    def delete(
        self, kind: str, namespace: str | None, name: str, *, grace_seconds: int | None = None, uid: str | None = None
    ) -> None:
        """Delete. A pod bound to a node gets a deletionTimestamp until the kubelet deletes it with grace_seconds=0."""

    def watch(self, *kinds: str) -> AsyncIterator[Event]:
        """Every object of these kinds as ADDED, then each later change, for as long as it is iterated."""
