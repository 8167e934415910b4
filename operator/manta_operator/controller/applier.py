"""Brings the children to what was desired: apply, then prune. One object that is refused does not stop the others."""

import logging
import secrets
from dataclasses import dataclass, field
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.access import group_secret
from manta_operator.builders.desired import Desired
from manta_operator.controller.client import KubeClient, ensure_owned
from manta_operator.controller.errors import ClusterError, InvalidObject

Object = dict[str, Any]
log = logging.getLogger(__name__)


@dataclass
class Applied:
    """What one daemon applied before, so that nothing is written twice; losing it costs one full pass."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    failures: tuple[str, ...] = ()


async def bring_about(
    client: KubeClient, deployment: LLMDeployment, desired: Desired, applied: Applied
) -> ClusterError | None:
    """Apply every object that differs from the last pass; prune only if all of them were accepted.

    Returns:
        The first failure, if there was one; every failure is logged once for as long as it lasts.
    """
    failures: list[ClusterError] = []
    if desired.plan.shape.pods > 1:
        try:
            await _ensure_group_secret(client, deployment, applied)
        except ClusterError as error:
            failures.append(error)
    for obj in desired.objects:
        try:
            await _apply(client, obj, deployment.uid, applied)
        except ClusterError as error:
            failures.append(error)
    if not failures:
        failures = await _prune(client, deployment, desired, applied)
    for failure in failures:
        if failure.message not in applied.failures:
            log.warning("%s/%s: %s", deployment.namespace, deployment.name, failure)
    applied.failures = tuple(failure.message for failure in failures)
    return failures[0] if failures else None


async def _ensure_group_secret(client: KubeClient, deployment: LLMDeployment, applied: Applied) -> None:
    """Make up the token of the groups once: the builders are pure, so randomness lives here. It is never replaced."""
    name = names.group_secret_name(deployment.name)
    if ("Secret", name) in applied.objects:
        return
    live = await client.get("v1", "Secret", deployment.namespace, name)
    ensure_owned(live, deployment.uid)
    if live is None:
        await client.apply(group_secret(deployment, secrets.token_urlsafe(32)))
    applied.objects["Secret", name] = {}


async def _apply(client: KubeClient, obj: Object, uid: str, applied: Applied) -> None:
    key = (obj["kind"], obj["metadata"]["name"])
    if applied.objects.get(key) == obj:
        return
    metadata = obj["metadata"]
    live = await client.get(obj["apiVersion"], obj["kind"], metadata["namespace"], metadata["name"])
    ensure_owned(live, uid)
    try:
        await client.apply(obj)
    except InvalidObject:
        if live is None:
            raise
        # Somebody changed a key of a list: a Service's port 8000 became 9999, and applying ours adds a second one of
        # the same name. A merge patch replaces the list; then it is ours again.
        await client.merge(obj)
        await client.apply(obj)
    applied.objects[key] = obj


async def _prune(
    client: KubeClient, deployment: LLMDeployment, desired: Desired, applied: Applied
) -> list[ClusterError]:
    failures = []
    for group in desired.plan.prune:
        log.info("%s/%s: prune %s", deployment.namespace, deployment.name, group.name)
        try:
            await client.delete("apps/v1", "StatefulSet", deployment.namespace, group.name, group.uid)
        except ClusterError as error:
            failures.append(error)
        applied.objects.pop(("StatefulSet", group.name), None)
    return failures
