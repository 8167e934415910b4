"""What a pass does besides applying: groups restarted, pods evicted, groups and strays pruned, orphans adopted."""

import json
import logging
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.desired import Desired
from manta_operator.controller.children import Child
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import ClusterError, Missing
from manta_operator.controller.kinds import CHILD_KINDS, LEADING
from manta_operator.controller.statuses import timestamp
from manta_operator.controller.store import Store
from manta_operator.planning.plan import Restart

Object = dict[str, Any]
log = logging.getLogger(__name__)

HEALTH_MANAGER = "manta-health"
"""Field manager of the restart annotation, so that the apply of a group neither owns nor removes it."""
_API_VERSIONS = {each.kind: each.api_version for each in CHILD_KINDS}
_KEPT = frozenset({"StatefulSet", "Pod"})
"""Kinds that are not taken away for not being wanted: the plan decides over groups."""


class Effects:
    """The writes that are no applies."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client, self._store = client, store

    async def adopt(self, deployment: LLMDeployment, desired: Desired) -> list[ClusterError]:
        """Become the owner of orphans that no apply of ours will touch: left behind by `--cascade=orphan`."""
        applied = {(obj["kind"], obj["metadata"]["name"]) for obj in desired.objects}
        owners = desired.objects[0]["metadata"]["ownerReferences"]
        failures = []
        for name, found in list(self._store.of((deployment.namespace, deployment.name)).items()):
            if found.owner or name in applied or found.kind == "Pod" or self._store.going(found):
                continue
            log.info("%s/%s: adopt %s %s", deployment.namespace, deployment.name, found.kind, found.name)
            metadata = _identity(found) | {"ownerReferences": owners}
            document = {"apiVersion": _API_VERSIONS[found.kind], "kind": found.kind, "metadata": metadata}
            try:
                self._store.put(found.kind, await self._client.merge(document), answer=True)
            except ClusterError as error:
                failures.append(error)
        return failures

    async def restart(self, deployment: LLMDeployment, desired: Desired) -> tuple[bool, list[ClusterError]]:
        """Write the restarts down, then delete the pods that are older than theirs; return whether anything was."""
        failures: list[ClusterError] = []
        plan = desired.plan
        for restart in plan.restart:
            try:
                await self._note(deployment, restart)
            except Missing:
                continue  # the group is gone
            except ClusterError as error:
                failures.append(error)
        if failures:
            return True, failures
        for name, uid in plan.evict:
            found = self._store.find("Pod", deployment.namespace, name)
            if found is not None and found.uid == uid and self._store.going(found):
                continue
            try:
                await self._client.delete("v1", "Pod", deployment.namespace, name, uid)
                self._store.expect_gone(uid)
            except ClusterError as error:
                failures.append(error)
        return bool(plan.restart), failures

    async def _note(self, deployment: LLMDeployment, restart: Restart) -> None:
        value = json.dumps({"count": restart.count, "at": timestamp(restart.at)})
        document = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {
                "name": restart.group,
                "namespace": deployment.namespace,
                "uid": restart.uid,
                "annotations": {names.ANNOTATION_RESTART: value},
            },
        }
        self._store.put("StatefulSet", await self._client.apply(document, manager=HEALTH_MANAGER), answer=True)

    async def prune(self, deployment: LLMDeployment, desired: Desired) -> tuple[bool, list[ClusterError]]:
        """Delete the groups that the plan gives up, and what is no longer wanted; return whether anything was."""
        failures, pruned = [], False
        for found in self._surplus(deployment, desired):
            log.info("%s/%s: prune %s %s", deployment.namespace, deployment.name, found.kind, found.name)
            try:
                await self._client.delete(_API_VERSIONS[found.kind], found.kind, found.namespace, found.name, found.uid)
            except ClusterError as error:
                failures.append(error)
            else:
                self._store.expect_gone(found.uid)
                pruned = True
        return pruned, failures

    def _surplus(self, deployment: LLMDeployment, desired: Desired) -> list[Child]:
        children = self._store.of((deployment.namespace, deployment.name))
        read = {("ConfigMap", config) for each in children.values() for config in each.mounts}
        given_up = {group.uid for group in desired.plan.prune}
        wanted = {(obj["kind"], obj["metadata"]["name"]) for obj in desired.objects}
        kept = _KEPT | LEADING if desired.keep else _KEPT
        return [
            found
            for name, found in children.items()
            if name not in read
            and not self._store.going(found)
            and (
                found.uid in given_up
                or (found.kind not in kept and found.owner == deployment.uid and name not in wanted)
            )
        ]


def _identity(found: Child) -> Object:
    return {"name": found.name, "namespace": found.namespace, "uid": found.uid}
