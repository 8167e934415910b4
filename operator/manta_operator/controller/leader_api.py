"""The requests of a leader election: read, create and replace one Lease, with the version that was read.

Not through `KubeClient`: it applies, and an apply cannot say "only if nobody else has written in between"; and the
election needs neither discovery nor the operator's patience.
"""

import json
from typing import Any

import aiohttp

from manta_operator.api import names
from manta_operator.controller import metrics
from manta_operator.controller.errors import Missing, classify
from manta_operator.controller.leader import Terms

Object = dict[str, Any]
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
        what = f"{verb} Lease {self._terms.namespace}/{self._terms.name}"
        try:
            async with self._session.request(method, url, json=body) as response:
                text = await response.text()
                metrics.requested(verb, "Lease", response.status)
        except (aiohttp.ClientError, OSError) as error:
            metrics.requested(verb, "Lease", None)
            raise classify(None, str(error) or type(error).__name__, what) from error
        try:
            answer: Object = json.loads(text)
        except ValueError:
            answer = {"message": text[:300]}
        if response.status >= 400:
            raise classify(response.status, str(answer.get("message") or response.reason), what)
        return answer
