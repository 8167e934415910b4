"""What a user may do: Roles, ClusterRoles and their bindings, evaluated as Kubernetes' RBAC authorizer does.

Rules only allow, so a request is refused unless a rule of some binding lets it through. Nobody may give away rights
that he does not have himself (`escalation.py`). Members of system:masters are not asked.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.box.apiserver.authentication import User
from manta_operator.box.apiserver.store import Store
from manta_operator.box.cluster import ApiError

Rule = Mapping[str, Any]
GROUP = "rbac.authorization.k8s.io"
CLUSTER_ADMIN: Mapping[str, Any] = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "cluster-admin"},
    "rules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ],
}
"""The one role that every cluster has and people bind by its name."""
_EVERYTHING = "*"
BASIC: tuple[Rule, ...] = (
    {
        "verbs": ["get"],
        "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"],
    },
    {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz"]},
    {
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    },
)
"""What everybody who is known may do: system:discovery and system:basic-user."""


@dataclass(frozen=True)
class Attributes:
    """A request as rules see it. `resource` has its subresource behind a slash; `path` is for what is no object."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def allows(rule: Rule, asked: Attributes) -> bool:
    """Whether one rule lets a request through."""
    if not _has(rule.get("verbs"), asked.verb):
        return False
    if asked.path:
        return any(_path_matches(pattern, asked.path) for pattern in rule.get("nonResourceURLs") or ())
    if not _has(rule.get("apiGroups"), asked.group) or not _resource(rule.get("resources") or (), asked.resource):
        return False
    names = rule.get("resourceNames") or ()
    return not names or asked.name in names


def _has(listed: Iterable[str] | None, wanted: str) -> bool:
    return any(each in (_EVERYTHING, wanted) for each in listed or ())


def _resource(listed: Iterable[str], wanted: str) -> bool:
    _, slash, subresource = wanted.partition("/")
    return any(each in (_EVERYTHING, wanted) or (slash and each == f"*/{subresource}") for each in listed)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in (_EVERYTHING, path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


class Authorizer:
    """Reads roles and bindings from the store each time it is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, user: User, asked: Attributes) -> None:
        """Raise ApiError 403 unless the user may."""
        if not self.may(user, asked):
            raise forbidden(user, asked)

    def may(self, user: User, asked: Attributes) -> bool:
        """Whether the user may."""
        return user.is_master or any(allows(rule, asked) for rule in self.rules(user, asked.namespace))

    def rules(self, user: User, namespace: str = "") -> Iterator[Rule]:
        """Every rule that holds for the user: in all the cluster, and in a namespace, if one is given."""
        if user.is_master:
            yield {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            yield {"verbs": ["*"], "nonResourceURLs": ["*"]}
        yield from BASIC
        for _, binding in self._store.objects((GROUP, "clusterrolebindings")):
            if _binds(binding, user):
                yield from self.rules_of(binding["roleRef"], "")
        if namespace:
            for _, binding in self._store.objects((GROUP, "rolebindings"), namespace):
                if _binds(binding, user):
                    yield from self.rules_of(binding["roleRef"], namespace)

    def rules_of(self, reference: Mapping[str, Any], namespace: str) -> Iterable[Rule]:
        """Return the rules of the role that a binding refers to; none if there is no such role."""
        whole = reference.get("kind") == "ClusterRole"
        key = ("" if whole else namespace, str(reference.get("name")))
        role = self._store.get((GROUP, "clusterroles" if whole else "roles"), key)
        return (role or {}).get("rules") or ()

    def exists(self, reference: Mapping[str, Any], namespace: str) -> bool:
        """Whether there is a role that a binding refers to."""
        whole = reference.get("kind") == "ClusterRole"
        key = ("" if whole else namespace, str(reference.get("name")))
        return self._store.get((GROUP, "clusterroles" if whole else "roles"), key) is not None


def _binds(binding: Mapping[str, Any], user: User) -> bool:
    namespace = binding["metadata"].get("namespace", "")
    return any(_is(subject, user, namespace) for subject in binding.get("subjects") or ())


def _is(subject: Mapping[str, Any], user: User, namespace: str) -> bool:
    kind, name = subject.get("kind"), subject.get("name")
    if kind == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
    return name == user.name if kind == "User" else kind == "Group" and name in user.groups


def forbidden(user: User, asked: Attributes) -> ApiError:
    """403 in a real API server's words."""
    if asked.path:
        return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"')
    plural = asked.resource.partition("/")[0]
    what = f"{plural}.{asked.group}" if asked.group else plural
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    did = f'cannot {asked.verb} resource "{asked.resource}" in API group "{asked.group}" {where}'
    named = f' "{asked.name}"' if asked.name else ""
    details = {"name": asked.name, "group": asked.group, "kind": plural}
    message = f'{what}{named} is forbidden: User "{user.name}" {did}'
    return ApiError(403, "Forbidden", message, {key: value for key, value in details.items() if value})
