"""What is asked and never stored: may I do this, what may I do here (`kubectl auth can-i`)."""

from typing import Any

from manta_operator.box.apiserver.authentication import User
from manta_operator.box.apiserver.authorization import Attributes, Authorizer
from manta_operator.box.apiserver.resources import Resource

Object = dict[str, Any]
_PARTS = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")


def review(authorizer: Authorizer, user: User, resource: Resource, body: Any) -> Object:
    """Answer a SelfSubjectAccessReview or a SelfSubjectRulesReview."""
    given = body.get("spec") if isinstance(body, dict) else None
    spec = given if isinstance(given, dict) else {}
    if resource.kind == "SelfSubjectRulesReview":
        status = _rules(authorizer, user, str(spec.get("namespace") or ""))
    else:
        status = {"allowed": authorizer.may(user, _asked(spec))}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, "spec": spec, "status": status}


def _rules(authorizer: Authorizer, user: User, namespace: str) -> Object:
    rules = [{key: rule[key] for key in _PARTS if rule.get(key)} for rule in authorizer.rules(user, namespace)]
    return {
        "resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule],
        "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
        "incomplete": False,
    }


def _asked(spec: Object) -> Attributes:
    path = spec.get("nonResourceAttributes") or {}
    if path:
        return Attributes(str(path.get("verb", "")), path=str(path.get("path", "")))
    asked = {key: str(value) for key, value in (spec.get("resourceAttributes") or {}).items()}
    resource = asked.get("resource", "")
    if asked.get("subresource"):
        resource = f"{resource}/{asked['subresource']}"
    return Attributes(
        asked.get("verb", ""), asked.get("group", ""), resource, asked.get("namespace", ""), asked.get("name", "")
    )
