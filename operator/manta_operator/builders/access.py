"""Builders of what the router may read: ServiceAccount, Role and RoleBinding. Pure.

The picker watches the pods of its own namespace and nothing else; engine pods get no token at all.
"""

import base64
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.metadata import metadata

Object = dict[str, Any]


def group_secret(deployment: LLMDeployment, token: str) -> Object:
    """Return the Secret that the pods of a group know each other by. The caller makes up `token`: builders are pure."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(deployment, names.group_secret_name(deployment.name), names.COMPONENT_ENGINE),
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }


def service_account(deployment: LLMDeployment) -> Object:
    """Return the router's ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(deployment)}


def role(deployment: LLMDeployment) -> Object:
    """Return the Role: pods, read only."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(deployment),
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
    }


def role_binding(deployment: LLMDeployment) -> Object:
    """Return the RoleBinding of the two."""
    name = names.router_name(deployment.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(deployment),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": deployment.namespace}],
    }


def _metadata(deployment: LLMDeployment) -> Object:
    return metadata(deployment, names.router_name(deployment.name), names.COMPONENT_ROUTER)
