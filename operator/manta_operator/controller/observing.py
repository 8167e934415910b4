"""From the store to what the plan reads: the groups, pods and routers of one LLMDeployment, as they are now."""

import time
from dataclasses import replace
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.controller.children import Child
from manta_operator.controller.recent import Recent
from manta_operator.controller.statuses import timestamp
from manta_operator.controller.store import Store
from manta_operator.controller.surroundings import Surroundings
from manta_operator.placement.nodes import lost_at, lost_nodes
from manta_operator.planning.integrations import HTTP_ROUTE, INFERENCE_POOL
from manta_operator.planning.mode_change import PATIENCE_SECONDS
from manta_operator.planning.observe import Observed, observe
from manta_operator.planning.observe_route import observe_route
from manta_operator.planning.observed import ObservedRoute

Object = dict[str, Any]
LOOK_AGAIN_SECONDS = 150.0
"""A node that falls silent wakes nobody whose pods are in trouble already; so it is seen before it counts as lost."""


class Observer:
    """Looks at one deployment at a time."""

    def __init__(self, store: Store, surroundings: Surroundings, namespace: str) -> None:
        self._store, self._surroundings, self._namespace = store, surroundings, namespace
        self._routes: Recent[tuple[str, int]] = Recent(2 * PATIENCE_SECONDS)
        """Since when an HTTPRoute is of a generation."""

    def look(self, deployment: LLMDeployment, lost: frozenset[str] = frozenset()) -> Observed:
        """Return what there is, given the nodes that are lost."""
        statefulsets = self._bodies(deployment, "StatefulSet")
        pods = self._bodies(deployment, "Pod", names.COMPONENT_ENGINE)
        found = observe(statefulsets, pods, self._bodies(deployment, "Deployment"), time.time(), lost)
        children = self._store.of((deployment.namespace, deployment.name)).values()
        return replace(
            found,
            # The name of a pod is that of its Deployment, a hash and a random word.
            router_pods=frozenset(pod.name.rsplit("-", 2)[0] for pod in self.routers(deployment)),
            pool=any(each.kind == INFERENCE_POOL.kind and not self._store.going(each) for each in children),
            route=self._route(deployment) if len(found.routers) > 1 else None,
            operator_namespace=self._namespace,
        )

    def _route(self, deployment: LLMDeployment) -> ObservedRoute | None:
        """Return the HTTPRoute, which matters only while the mode of the routers changes."""
        for body in self._bodies(deployment, HTTP_ROUTE.kind):
            which = (body["metadata"]["uid"], body["metadata"]["generation"])
            if not self._routes.when(which):
                self._routes.note(which)
            return observe_route(body, time.monotonic() - self._routes.when(which))
        return None

    def look_closer(
        self, deployment: LLMDeployment, observed: Observed, template: Object
    ) -> tuple[Observed, float | None]:
        """Look again where a pod has trouble, at the nodes too: most passes ask nothing.

        Returns:
            What there is, and in how many seconds the nodes are worth another look: one may be lost by then.

        Raises:
            NotYet: the nodes are being listed.
        """
        now, suspects = observed.now, observed.suspects
        since = max((self._store.bound(pod.uid) for pod in observed.pods if pod.node in suspects), default=0.0)
        nodes = self._surroundings.known_nodes(since) if suspects else None
        if nodes is None:
            return observed, None
        lost = lost_nodes(nodes, suspects, now, template)
        moment = lost_at([node for node in nodes if node["metadata"]["name"] in suspects], now)
        pause = min(LOOK_AGAIN_SECONDS, moment - now if moment is not None else LOOK_AGAIN_SECONDS)
        return (self.look(deployment, lost) if lost else observed), pause

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
