"""Who writes a role, or binds one, gives away no right that he does not have himself; as Kubernetes' RBAC has it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from manta_operator.box.apiserver.authentication import User
from manta_operator.box.apiserver.authorization import GROUP, Attributes, Authorizer, Rule
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.cluster import ApiError

Object = Mapping[str, Any]
_ROLES = ("roles", "clusterroles")
_BINDINGS = ("rolebindings", "clusterrolebindings")


def check(authorizer: Authorizer, user: User, resource: Resource, obj: Object, old: Object | None) -> None:
    """Refuse a write of a role or of a binding that gives away what its writer does not have; ApiError 403 or 404."""
    if resource.group != GROUP or user.is_master or resource.plural not in (*_ROLES, *_BINDINGS):
        return
    namespace = str(obj["metadata"].get("namespace") or "")
    if resource.plural in _ROLES:
        if old is not None and old.get("rules") == obj.get("rules"):
            return
        excuse, given = Attributes("escalate", GROUP, resource.plural, namespace, _name(obj)), obj.get("rules") or ()
    else:
        parts = ("roleRef", "subjects")
        if old is not None and all(old.get(part) == obj.get(part) for part in parts):
            return
        reference = obj["roleRef"]
        plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        excuse = Attributes("bind", GROUP, plural, namespace, str(reference.get("name")))
        given = authorizer.rules_of(reference, namespace)
    if authorizer.may(user, excuse):
        return
    if resource.plural in _BINDINGS and not authorizer.exists(obj["roleRef"], namespace):
        name = str(obj["roleRef"].get("name"))
        message = f'{excuse.resource}.{GROUP} "{name}" not found'
        raise ApiError(404, "NotFound", message, {"name": name, "group": GROUP, "kind": excuse.resource})
    missing = uncovered(given, tuple(authorizer.rules(user, namespace)))
    if missing:
        raise _refusal(user, resource, obj, missing)


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def uncovered(given: Iterable[Rule], held: Iterable[Rule]) -> list[Rule]:
    """Return the single rights of `given` that no rule of `held` covers."""
    owned = tuple(held)
    return [right for rule in given for right in _single(rule) if not any(_covers(rule, right) for rule in owned)]


def _single(rule: Rule) -> Iterator[Rule]:
    """Split a rule into rights of one verb on one thing each."""
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield {"nonResourceURLs": [path], "verbs": [verb]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for names in [[name] for name in rule.get("resourceNames") or ()] or [[]]:
                    right = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                    yield right | ({"resourceNames": names} if names else {})


def _covers(rule: Rule, right: Rule) -> bool:
    if not _within(right["verbs"], rule.get("verbs")):
        return False
    if "nonResourceURLs" in right:
        [path] = right["nonResourceURLs"]
        held = rule.get("nonResourceURLs") or ()
        return any(each in ("*", path) or (each.endswith("*") and path.startswith(each[:-1])) for each in held)
    if not _within(right["apiGroups"], rule.get("apiGroups")):
        return False
    [resource] = right["resources"]
    subresource = f"*/{resource.partition('/')[2]}" if "/" in resource else resource
    if not {"*", resource, subresource} & set(rule.get("resources") or ()):
        return False
    names = set(rule.get("resourceNames") or ())
    return not names or (bool(right.get("resourceNames")) and set(right["resourceNames"]) <= names)


def _within(wanted: Iterable[str], held: Iterable[str] | None) -> bool:
    return {"*", *wanted} & set(held or ()) != set()


def _refusal(user: User, resource: Resource, obj: Object, missing: Iterable[Rule]) -> ApiError:
    groups = ", ".join(f'"{group}"' for group in user.groups)
    lines = "\n".join(_written(right) for right in missing)
    who = f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held'
    message = f'{resource.plural}.{GROUP} "{_name(obj)}" is forbidden: {who}:\n{lines}'
    return ApiError(403, "Forbidden", message, {"name": _name(obj), "group": GROUP, "kind": resource.plural})


def _written(right: Rule) -> str:
    names = {
        "APIGroups": "apiGroups",
        "Resources": "resources",
        "ResourceNames": "resourceNames",
        "NonResourceURLs": "nonResourceURLs",
        "Verbs": "verbs",
    }
    parts = [
        f"{word}:[{', '.join(f'{chr(34)}{each}{chr(34)}' for each in right[key])}]"
        for word, key in names.items()
        if key in right
    ]
    return f"{{{', '.join(parts)}}}"
