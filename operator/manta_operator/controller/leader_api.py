"""The requests of a leader election: read, create and replace one Lease, with the version that was read.

Not through `KubeClient`: it applies, and an apply cannot say "only if nobody else has written in between".
"""

from collections.abc import Awaitable
from typing import Any

import aiohttp
from kubernetes.aio import client as kube

from manta_operator.controller.errors import Missing, classify
from manta_operator.controller.leader import Terms

Object = dict[str, Any]


class KubeLeases:
    """One Lease on the API server."""

    def __init__(self, api: Any, terms: Terms) -> None:
        self._api = kube.CoordinationV1Api(api)
        self._terms = terms
        self._place = f"Lease {terms.namespace}/{terms.name}"

    async def read(self) -> Object | None:
        """Return the Lease, None if there is none. Raises ClusterError."""
        reading = self._api.read_namespaced_lease_without_preload_content
        try:
            return await self._answer(reading(self._terms.name, self._terms.namespace), "get")
        except Missing:
            return None

    async def create(self, spec: Object) -> Object:
        """Create the Lease. Raises ClusterError."""
        creating = self._api.create_namespaced_lease_without_preload_content
        return await self._answer(creating(self._terms.namespace, self._body(spec)), "create")

    async def replace(self, spec: Object, version: str) -> Object:
        """Replace the spec if the resourceVersion is still `version`. Raises ClusterError."""
        replacing = self._api.replace_namespaced_lease_without_preload_content
        return await self._answer(
            replacing(self._terms.name, self._terms.namespace, self._body(spec, version)), "update"
        )

    def _body(self, spec: Object, version: str | None = None) -> Object:
        metadata = {"name": self._terms.name, "namespace": self._terms.namespace}
        if version is not None:
            metadata["resourceVersion"] = version
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _answer(self, call: Awaitable[Any], verb: str) -> Object:
        what = f"{verb} {self._place}"
        try:
            response = await call
            answer: Object = await response.json()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise classify(None, str(error) or type(error).__name__, what) from error
        if response.status >= 400:
            raise classify(response.status, str(answer.get("message") or response.reason), what)
        return answer
