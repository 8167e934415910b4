"""From the store to what the plan reads: the groups, pods and routers of one LLMDeployment, as they are now."""

import time
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.controller.children import Child
from manta_operator.controller.statuses import timestamp
from manta_operator.controller.store import Store
from manta_operator.controller.surroundings import Surroundings
from manta_operator.placement.nodes import lost_at, lost_nodes
from manta_operator.planning.observe import Observed, observe

Object = dict[str, Any]


class Observer:
    """Looks at one deployment at a time."""

    def __init__(self, store: Store, surroundings: Surroundings) -> None:
        self._store, self._surroundings = store, surroundings

    async def look(self, deployment: LLMDeployment) -> tuple[Observed, float | None]:
        """Return what there is, and in how many seconds a node may count as lost that is only away now.

        Only where a pod has trouble the nodes are asked for: most passes read nothing.
        """
        now = time.time()
        statefulsets = self._bodies(deployment, "StatefulSet")
        pods = self._bodies(deployment, "Pod", names.COMPONENT_ENGINE)
        deployments = self._bodies(deployment, "Deployment")
        observed = observe(statefulsets, pods, deployments, now)
        nodes = await self._surroundings.nodes() if observed.suspects else None
        if nodes is None:
            return observed, None
        moment = lost_at([node for node in nodes if node["metadata"]["name"] in observed.suspects], now)
        lost = lost_nodes(nodes, observed.suspects, now)
        if lost:
            observed = observe(statefulsets, pods, deployments, now, lost)
        return observed, moment - now if moment is not None else None

    def routers(self, deployment: LLMDeployment) -> list[Child]:
        """Return the router's pods."""
        return [
            each
            for each in self._store.of((deployment.namespace, deployment.name)).values()
            if each.kind == "Pod" and each.component == names.COMPONENT_ROUTER
        ]

    def _bodies(self, deployment: LLMDeployment, kind: str, component: str = "") -> list[Object]:
        return [
            self._body(each)
            for each in self._store.of((deployment.namespace, deployment.name)).values()
            if each.kind == kind
            and each.component == component
            and (kind == "Pod" or each.owner in ("", deployment.uid))
        ]

    def _body(self, found: Child) -> Object:
        """Show what we have deleted as going, although no watch has said so yet: nothing is taken away twice over."""
        body = found.body()
        if self._store.going(found):
            body["metadata"].setdefault("deletionTimestamp", timestamp())
        return body
