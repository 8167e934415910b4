"""The requests of a leader election: read, create and replace one Lease, with the version that was read.

Not through `KubeClient`: it applies, and an apply cannot say "only if nobody else has written in between"; and the
election needs neither discovery nor the operator's patience.
"""

import aiohttp

from manta_operator.api import names
from manta_operator.controller.errors import Missing
from manta_operator.controller.leader import Terms
from manta_operator.controller.requests import Object, request

LABELS = {names.LABEL_NAME: "manta", names.LABEL_COMPONENT: "operator"}
"""By these the command line finds an operator, whatever its Lease is called."""


class KubeLeases:
    """One Lease on the API server."""

    def __init__(self, session: aiohttp.ClientSession, server: str, terms: Terms) -> None:
        self._session, self._terms = session, terms
        self._url = f"{server}/apis/coordination.k8s.io/v1/namespaces/{terms.namespace}/leases"

    async def read(self) -> Object | None:
        """Return the Lease, None if there is none. Raises ClusterError."""
        try:
            return await self._request("GET", f"{self._url}/{self._terms.name}", "get")
        except Missing:
            return None

    async def create(self, spec: Object) -> Object:
        """Create the Lease. Raises ClusterError."""
        return await self._request("POST", self._url, "create", self._body(spec))

    async def replace(self, spec: Object, version: str) -> Object:
        """Replace the spec if the resourceVersion is still `version`. Raises ClusterError."""
        return await self._request("PUT", f"{self._url}/{self._terms.name}", "update", self._body(spec, version))

    def _body(self, spec: Object, version: str | None = None) -> Object:
        metadata: Object = {"name": self._terms.name, "namespace": self._terms.namespace, "labels": LABELS}
        if version is not None:
            metadata["resourceVersion"] = version
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _request(self, method: str, url: str, verb: str, body: Object | None = None) -> Object:
        name = f"{self._terms.namespace}/{self._terms.name}"
        return await request(self._session, method, url, verb, "Lease", name, json=body)
