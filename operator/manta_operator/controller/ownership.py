"""Whose an object is: what somebody else made is never touched, what was left behind by us is taken up again.

The store knows every object with our label. Others are found out before the first apply of a name by asking for the
names of those without it, once for all daemons: no read per child, and none at all when nothing is made.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from manta_operator.api import names
from manta_operator.controller.children import Child
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import ClusterError, Leaving, NotOwned
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
            Leaving: it belonged to an LLMDeployment of this name that is gone.
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
            raise not_owned(obj, owners)

    async def _names(self, api_version: str, kind: str, namespace: str) -> frozenset[str]:
        now, place = time.monotonic(), (kind, namespace)
        since, asking = self._known.get(place, (0.0, None))
        if asking is None or now - since > FRESH_SECONDS or (asking.done() and _failed(asking)):
            asking = asyncio.create_task(self._client.names_of(api_version, kind, namespace, OTHERS))
            self._known[place] = known = (now, asking)
            asyncio.get_running_loop().call_later(FRESH_SECONDS, self._forget, place, known)
        return await asyncio.shield(asking)

    def _forget(self, place: tuple[str, str], known: tuple[float, asyncio.Task[frozenset[str]]]) -> None:
        if self._known.get(place) is known:
            del self._known[place]


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


def ensure_ours(found: Child, uid: str, name: str) -> None:
    """Refuse an object with our label that belongs to another LLMDeployment, or to anybody else.

    One without a controller that names this LLMDeployment in its label is an orphan of ours, and free to be adopted.

    Raises:
        NotOwned: it belongs to somebody else.
        Leaving: it belonged to an LLMDeployment of this name that is gone.
    """
    if found.owner == uid or (not found.owner and found.deployment == name):
        return
    holder = found.controller or (f"{names.KIND} {found.deployment}" if found.deployment else "")
    raise _refusal(f"{found.kind} {found.namespace}/{found.name}", holder, found.controller == f"{names.KIND} {name}")


def not_owned(obj: Mapping[str, Any], owners: Any) -> ClusterError:
    """Return the refusal of an object that has the name of the given one and is not ours, naming its controller.

    It is NotOwned, or Leaving if it belonged to an LLMDeployment of this name that is gone.
    """
    owner: Mapping[str, Any] | None = next((ref for ref in owners if ref.get("controller")), None)
    holder = f"{owner['kind']} {owner['name']}" if owner else ""
    metadata = obj["metadata"]
    ours = f"{names.KIND} {metadata['ownerReferences'][0]['name']}"
    return _refusal(f"{obj['kind']} {metadata['namespace']}/{metadata['name']}", holder, holder == ours)


def _refusal(what: str, holder: str, former: bool) -> ClusterError:
    if former:  # of the same name, and another uid
        return Leaving(
            f"{what} still belongs to the deleted {holder}; waiting until the garbage collector has taken it"
        )
    belongs = f"{what} exists already and belongs to {holder or 'nobody, so not to this LLMDeployment'}"
    return NotOwned(f"{belongs}; delete or rename it, or rename the LLMDeployment")
