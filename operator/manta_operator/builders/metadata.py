"""Metadata of every child: name, labels and the owner reference. Pure."""

from collections.abc import Mapping
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment

Object = dict[str, Any]


def metadata(deployment: LLMDeployment, name: str, component: str, labels: Mapping[str, str] | None = None) -> Object:
    """Return the metadata of a child.

    The owner reference is left out where the deployment has no uid: `manta render` has asked no API server.
    """
    result: Object = {
        "name": name,
        "namespace": deployment.namespace,
        "labels": names.common_labels(deployment.name, component) | dict(labels or {}),
    }
    if deployment.uid:
        result["ownerReferences"] = [_owner(deployment)]
    return result


def selector(deployment: LLMDeployment, component: str) -> dict[str, str]:
    """Return the labels that select the pods of one component: few, since selectors can never change."""
    return {names.LABEL_DEPLOYMENT: deployment.name, names.LABEL_COMPONENT: component}


def router_workload(deployment: LLMDeployment) -> str:
    """Return the name of the router's Deployment, with which those of its ConfigMaps begin.

    It is a mode's own, so that both are there while the mode changes.
    """
    in_pool = deployment.spec.router.mode == "inference-pool"
    return names.epp_name(deployment.name) if in_pool else names.router_name(deployment.name)


def _owner(deployment: LLMDeployment) -> Object:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": deployment.name,
        "uid": deployment.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
