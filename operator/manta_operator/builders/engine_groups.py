"""Builders of the replica groups: a StatefulSet for each, and the headless Service that names their pods. Pure."""

from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.metadata import metadata, selector
from manta_operator.builders.overlay import overlay
from manta_operator.planning.plan import GroupPlan, Plan

Object = dict[str, Any]


def statefulset(deployment: LLMDeployment, plan: Plan, group: GroupPlan, template: Object) -> Object:
    """Return the StatefulSet of one replica: all its pods start at once, pod 0 is the head.

    OnDelete: a changed template is a new revision and so a new StatefulSet; pods are never replaced under traffic.
    """
    labels = {names.LABEL_REPLICA: str(group.index), names.LABEL_REVISION: plan.revision}
    service = names.group_service_name(deployment.name)
    head = f"{group.name}-0.{service}.{deployment.namespace}.svc"
    own = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "engine", "env": [{"name": "GROUP_HEAD", "value": head}]}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(deployment, group.name, names.COMPONENT_ENGINE, labels),
        "spec": {
            "podManagementPolicy": "Parallel",
            "replicas": plan.shape.pods,
            "selector": {"matchLabels": selector(deployment, names.COMPONENT_ENGINE) | labels},
            "serviceName": service,
            "template": overlay(template, own),
            "updateStrategy": {"type": "OnDelete"},
        },
    }


def group_service(deployment: LLMDeployment) -> Object:
    """Return the headless Service: a DNS name for every engine pod, ready or not, for ranks meet before they serve."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(deployment, names.group_service_name(deployment.name), names.COMPONENT_ENGINE),
        "spec": {
            "clusterIP": "None",
            "ports": [
                {"name": "http", "port": names.ENGINE_PORT, "targetPort": "http"},
                {"name": "control", "port": names.CONTROL_PORT, "targetPort": "control"},
            ],
            "publishNotReadyAddresses": True,
            "selector": selector(deployment, names.COMPONENT_ENGINE),
        },
    }
