"""Where the API server serves a kind: asked once, and again now and then while it is not there."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from manta_operator.controller.errors import Missing

FRESH_SECONDS = 30.0
"""How long it is believed that a kind is not served."""


@dataclass(frozen=True)
class Resource:
    """A kind's place in the API."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of one object, of a namespace's objects, or of all."""
        parts = [self.prefix]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/".join(parts)


class Discovery:
    """The resources of each group and version, as they were last seen."""

    def __init__(self, read: Callable[[str], Awaitable[dict[str, Any]]]) -> None:
        self._read = read
        self._groups: dict[str, tuple[float, dict[str, Resource]]] = {}

    async def find(self, api_version: str, kind: str) -> Resource:
        """Return where a kind is served. Raises Missing: it is not; ClusterError: nobody knows."""
        seen, kinds = self._groups.get(api_version, (-FRESH_SECONDS, {}))
        if kind not in kinds and time.monotonic() - seen >= FRESH_SECONDS:
            kinds = await self._discover(api_version)
            self._groups[api_version] = (time.monotonic(), kinds)
        if kind not in kinds:
            raise Missing(f"the API server does not serve {api_version} {kind}")
        return kinds[kind]

    async def _discover(self, api_version: str) -> dict[str, Resource]:
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            found = await self._read(prefix)
        except Missing:
            return {}
        return {
            each["kind"]: Resource(prefix, each["name"], bool(each["namespaced"]))
            for each in found.get("resources") or ()
            if "/" not in each["name"]
        }
