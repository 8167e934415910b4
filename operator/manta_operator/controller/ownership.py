"""Whose an object is: what somebody else made is never touched, what was left behind by us is taken up again.

The store knows every object with our label. Others are found out before the first apply of a name by asking for the
names of those without it, once for all daemons: no read per child, and none at all when nothing is made.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from manta_operator.controller.children import Child
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import NotOwned
from manta_operator.controller.kinds import OTHERS

FRESH_SECONDS = 3.0
"""How old an answer may be. What comes about in between meets the API server's own refusal of a conflicting apply."""


class Strangers:
    """Names of the objects in a namespace that do not carry our label, by kind; the first who needs them asks."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str], tuple[float, asyncio.Task[frozenset[str]]]] = {}

    async def check(self, obj: Mapping[str, Any], uid: str) -> None:
        """Refuse a name that is taken, unless by an object of ours that has lost its labels.

        Raises:
            NotOwned: it belongs to somebody else.
            ClusterError: it cannot be known.
        """
        api_version, kind, metadata = obj["apiVersion"], obj["kind"], obj["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        if name not in await self._names(api_version, kind, namespace):
            return
        live = await self._client.get(api_version, kind, namespace, name)
        if live is None:
            return
        owners = live["metadata"].get("ownerReferences") or ()
        if not any(ref.get("controller") and ref["uid"] == uid for ref in owners):
            raise not_owned(kind, namespace, name, owners)

    async def _names(self, api_version: str, kind: str, namespace: str) -> frozenset[str]:
        now, place = time.monotonic(), (kind, namespace)
        since, asking = self._known.get(place, (0.0, None))
        if asking is None or now - since > FRESH_SECONDS or (asking.done() and _failed(asking)):
            asking = asyncio.create_task(self._client.names_of(api_version, kind, namespace, OTHERS))
            self._known[place] = (now, asking)
        return await asyncio.shield(asking)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


def ensure_ours(found: Child, uid: str, name: str) -> None:
    """Refuse an object with our label that belongs to another LLMDeployment, or to anybody else.

    One without a controller that names this LLMDeployment in its label is an orphan of ours, and free to be adopted.

    Raises:
        NotOwned: it belongs to somebody else.
    """
    if found.owner == uid or (not found.owner and found.deployment == name):
        return
    holder = f"LLMDeployment {found.deployment}" if found.deployment else "somebody else"
    raise NotOwned(_sentence(found.kind, found.namespace, found.name, holder))


def not_owned(kind: str, namespace: str, name: str, owners: Any) -> NotOwned:
    """Return the refusal of an object that is not ours, naming its controller."""
    owner: Mapping[str, Any] | None = next((ref for ref in owners if ref.get("controller")), None)
    holder = f"{owner['kind']} {owner['name']}" if owner else "nobody, so not to this LLMDeployment"
    return NotOwned(_sentence(kind, namespace, name, holder))


def _sentence(kind: str, namespace: str, name: str, holder: str) -> str:
    return (
        f"{kind} {namespace}/{name} exists already and belongs to {holder}; "
        "delete or rename it, or rename the LLMDeployment"
    )
