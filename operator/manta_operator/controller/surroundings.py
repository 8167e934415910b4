"""What lies around a deployment and costs a request to know: asked only when a plan wants it, once for all daemons.

    room         nodes and all pods of the cluster: how many more groups fit
    lost nodes   nodes that are gone or not ready: asked when a pod has trouble
    loads        requests in flight by group, from the routers themselves

What cannot be known (no permission, no answer) is None, never an error.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import aiohttp

from manta_operator.api import names
from manta_operator.controller.children import Child
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import ClusterError
from manta_operator.placement.room import NodeSpace, Room, room, survey

Object = dict[str, Any]
FRESH_SECONDS = 5.0
LOADS_SECONDS = 2.0
"""How long a router may take to say what it is doing."""
_T = TypeVar("_T")
_POD = ("nodeName", "overhead", "resources")
_CONTAINER = ("resources", "restartPolicy")


class Surroundings:
    """The cluster's nodes and pods."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._nodes = _Shared(lambda: client.list("v1", "Node"))
        self._spaces = _Shared(self._survey)

    async def nodes(self) -> list[Object] | None:
        """Return every Node; None if they cannot be listed."""
        return await self._nodes.get()

    async def room(self, template: Object, size: int) -> Room | None:
        """Return how many more groups of `size` pods fit; None if that cannot be known."""
        spaces = await self._spaces.get()
        return None if spaces is None else room(template, size, spaces)

    async def _survey(self) -> tuple[NodeSpace, ...]:
        nodes = await self._client.list("v1", "Node")
        pages = self._client.pages("v1", "Pod")
        pods = [_cut(pod) async for page, _ in pages for pod in page if pod["spec"].get("nodeName")]
        return survey(nodes, pods)


class _Shared(Generic[_T]):
    """An answer that everybody who asks within a few seconds shares."""

    def __init__(self, ask: Callable[[], Awaitable[_T]]) -> None:
        self._ask = ask
        self._since = 0.0
        self._answer: asyncio.Future[_T | None] | None = None

    async def get(self) -> _T | None:
        if self._answer is None or time.monotonic() - self._since > FRESH_SECONDS:
            self._since = time.monotonic()
            self._answer = asyncio.ensure_future(self._asked())
        return await asyncio.shield(self._answer)

    async def _asked(self) -> _T | None:
        try:
            return await self._ask()
        except ClusterError:
            return None


def _cut(pod: Object) -> Object:
    """Keep of a pod what `survey` reads: a large cluster has many, and all of them are held at once."""
    spec = pod["spec"]
    kept = {name: spec[name] for name in _POD if name in spec}
    for kind in ("containers", "initContainers"):
        kept[kind] = [{name: each[name] for name in _CONTAINER if name in each} for each in spec.get(kind) or ()]
    metadata = {name: pod["metadata"][name] for name in ("name", "namespace")}
    return {"metadata": metadata, "spec": kept, "status": {"phase": (pod.get("status") or {}).get("phase")}}


async def loads(routers: Iterable[Child]) -> Mapping[str, int] | None:
    """Ask the pickers of a deployment for the requests in flight by group, and add them up; None if one is silent."""
    addresses = sorted({each.address for each in routers if each.address and not each.deleting})
    if not addresses:
        return None
    timeout = aiohttp.ClientTimeout(total=LOADS_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        answers = await asyncio.gather(*(_loads(session, address) for address in addresses))
    total: dict[str, int] = {}
    for answer in answers:
        if answer is None:
            return None
        for group, number in answer.items():
            total[group] = total.get(group, 0) + number
    return total


async def _loads(session: aiohttp.ClientSession, address: str) -> dict[str, int] | None:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{names.PICKER_PORT}/loads") as answer:
            if answer.status != 200:
                return None
            document = await answer.json(content_type=None)
            return {str(group): int(number) for group, number in document.items()}
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, AttributeError):
        return None
