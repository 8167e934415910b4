"""One pass of the loop over one LLMDeployment: read, decide, apply, prune, write the status.

Everything is read before anything is judged; the judging is `builders.desired` and `planning`, pure. A pass never
raises for what the API server says: it becomes a condition and the next pass tries again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pydantic

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment, parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.controller.applier import Applied, bring_about
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import ClusterError
from manta_operator.facts.models import FactsError, ModelFacts
from manta_operator.planning.conditions import Situation
from manta_operator.planning.observe import Observed, observe
from manta_operator.planning.previous import recall
from manta_operator.planning.problems import Problem
from manta_operator.planning.status import status, unreadable

Object = dict[str, Any]
log = logging.getLogger(__name__)


@dataclass
class Memory:
    """What one daemon remembers between passes, so that nothing is written twice; losing it costs one full pass."""

    applied: Applied = field(default_factory=Applied)
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a pass ended: whether it should be tried again soon."""

    gone: bool = False
    retry: bool = False


class Reconciler:
    """Brings the cluster to what one LLMDeployment asks for, a pass at a time."""

    def __init__(self, client: KubeClient, facts: Callable[[str], ModelFacts | None]) -> None:
        self._client = client
        self._facts = facts

    async def run(self, namespace: str, name: str, memory: Memory, *, full: bool) -> Outcome:
        """Make one pass.

        Args:
            namespace: Where the LLMDeployment is.
            name: Its name.
            memory: What earlier passes applied; changed by this one.
            full: Apply every object, not only those that differ from the last pass: finds drift.

        Raises:
            ClusterError: the object itself cannot be read or its status not written.
        """
        body = await self._client.get(names.API_VERSION, names.KIND, namespace, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return Outcome(gone=True)
        if full:
            memory.applied.objects.clear()
        try:
            deployment = parse(body)
        except pydantic.ValidationError as error:
            await self._write_status(body, unreadable(str(error), body, _now()))
            return Outcome()
        observed = await self._observe(deployment)
        desired = await self._desire(deployment, observed, body.get("status") or {})
        failure = None
        if isinstance(desired, Desired):
            failure = await bring_about(self._client, deployment, desired, memory.applied)
        situation = _situation(deployment, desired, observed, failure)
        _tell(deployment, situation, memory)
        await self._write_status(body, status(deployment, situation, body.get("status") or {}, _now()))
        return Outcome(retry=failure is not None)

    async def _observe(self, deployment: LLMDeployment) -> Observed:
        place = (deployment.namespace, f"{names.LABEL_DEPLOYMENT}={deployment.name}")
        statefulsets = await self._client.list("apps/v1", "StatefulSet", *place)
        pods = await self._client.list("v1", "Pod", *place)
        deployments = await self._client.list("apps/v1", "Deployment", *place)
        engines = [
            pod for pod in pods if pod["metadata"]["labels"].get(names.LABEL_COMPONENT) == names.COMPONENT_ENGINE
        ]
        return observe(
            [body for body in statefulsets if _owned(body, deployment)],
            engines,
            [body for body in deployments if _owned(body, deployment)],
        )

    async def _desire(
        self, deployment: LLMDeployment, observed: Observed, before: Mapping[str, Any]
    ) -> Desired | tuple[Problem, ...]:
        try:
            facts = await asyncio.to_thread(self._facts, deployment.spec.model.uri)  # may be a slow disk
        except FactsError as error:
            return (Problem("spec.model.uri", str(error), "repair the checkpoint or name another one"),)
        return desire(deployment, facts, observed, recall(deployment.spec, before))

    async def _write_status(self, body: Object, after: Object) -> None:
        """Write the status, last of all and only if it changed."""
        if after == body.get("status"):
            return
        metadata = body["metadata"]
        document = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "status": after,
        }
        await self._client.apply(document, subresource="status")


def _tell(deployment: LLMDeployment, situation: Situation, memory: Memory) -> None:
    """Log what was decided, each sentence once for as long as it holds."""
    said = tuple(decision.message for decision in situation.plan.decisions) if situation.plan else ()
    for sentence in said:
        if sentence not in memory.said:
            log.info("%s/%s: %s", deployment.namespace, deployment.name, sentence)
    memory.said = said


def _situation(
    deployment: LLMDeployment,
    desired: Desired | tuple[Problem, ...],
    observed: Observed,
    failure: ClusterError | None,
) -> Situation:
    planned = desired if isinstance(desired, Desired) else None
    return Situation(
        replicas=deployment.spec.replicas,
        router_replicas=deployment.spec.router.replicas,
        plan=planned.plan if planned else None,
        problems=() if isinstance(desired, Desired) else desired,
        observed=observed,
        failure=(failure.reason, failure.message) if failure else None,
    )


def _owned(body: Mapping[str, Any], deployment: LLMDeployment) -> bool:
    return any(ref.get("uid") == deployment.uid for ref in body["metadata"].get("ownerReferences") or ())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
