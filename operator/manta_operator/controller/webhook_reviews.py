"""AdmissionReview, the envelope of the webhook: its JSON to a question, an answer to JSON. Pure; decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.planning.admission import Answer

API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"
MESSAGE_LIMIT = 4096
"""Characters of a refusal that are told."""


class NoReview(Exception):
    """What came is no AdmissionReview; the text says why."""


@dataclass(frozen=True)
class Review:
    """One write that an API server asks about.

    Attributes:
        uid: Of the question, to be repeated in the answer.
        namespace: Where the object is, or will be.
        new: The object as it would be stored; None for a deletion.
        old: The object as it stands; None for a creation.
    """

    uid: str
    namespace: str
    new: Mapping[str, Any] | None
    old: Mapping[str, Any] | None


def read_review(document: Any) -> Review:
    """Read the JSON of a request. Raises NoReview."""
    if not isinstance(document, Mapping) or (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        raise NoReview(f"the body is no {KIND} of {API_VERSION}")
    request = document.get("request")
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise NoReview("request.uid is missing")
    for name in ("object", "oldObject"):
        if not isinstance(request.get(name), Mapping | None):
            raise NoReview(f"request.{name} is no object")
        if not isinstance((request.get(name) or {}).get("metadata"), Mapping | None):
            raise NoReview(f"request.{name}.metadata is no object")
    return Review(request["uid"], str(request.get("namespace") or ""), request.get("object"), request.get("oldObject"))


def answer_json(review: Review, answer: Answer) -> dict[str, Any]:
    """Return the JSON of an answer."""
    response: dict[str, Any] = {"uid": review.uid, "allowed": answer.allowed}
    if not answer.allowed:
        message = answer.message[:MESSAGE_LIMIT]
        response["status"] = {"status": "Failure", "message": message, "reason": "Invalid", "code": 422}
    if answer.warnings:
        response["warnings"] = list(answer.warnings)
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}
