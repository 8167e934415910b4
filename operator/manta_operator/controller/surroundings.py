"""What lies around a deployment and costs a request to know: asked only when a plan wants it, once for all daemons.

    room         nodes and all pods of the cluster: how many more groups fit
    lost nodes   nodes that are gone or not ready: asked when a pod has trouble
    loads        requests in flight by group, from the routers themselves

A large cluster has thousands of nodes, and ten times the pods: they are read a page at a time, of each only what is
asked about is kept, and nothing for longer than it is fresh. What cannot be known (no permission, no answer) is None,
never an error.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import aiohttp

from manta_operator.api import names
from manta_operator.controller.answers import read_json
from manta_operator.controller.children import Child
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import ClusterError
from manta_operator.placement.nodes import slim_node
from manta_operator.placement.room import NodeSpace, Room, Used, hold, room, spaces

Object = dict[str, Any]
FRESH_SECONDS = 2.0
"""How long an answer is shared, from when it is there: to gather it may take longer."""
CHUNK = 500
"""Nodes that are judged at a stretch: others want the loop, too."""
LOADS_SECONDS = 2.0
"""How long a router may take to say what it is doing."""
_LOADS_BYTES = 2**20
_T = TypeVar("_T")


class NotYet(Exception):
    """An answer is being gathered; `gathered` ends when it is there, then it is worth asking again."""

    def __init__(self, gathered: "asyncio.Future[Any]") -> None:
        super().__init__("being gathered")
        self.gathered = gathered


class Surroundings:
    """The cluster's nodes and pods."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._nodes = _Shared(self._list)
        self._spaces = _Shared(self._survey)

    async def nodes(self, since: float = 0.0) -> Sequence[Mapping[str, Any]] | None:
        """Return every Node as `slim_node` leaves it; None if they cannot be listed.

        Args:
            since: When the last pod that matters took its place (time.monotonic): its node may be as new, and to an
                older list it would be a node that is gone.
        """
        return await self._nodes.get(since)

    def known_nodes(self, since: float = 0.0) -> Sequence[Mapping[str, Any]] | None:
        """Return the same at once. Raises NotYet."""
        return self._nodes.known(since)

    def room(self, template: Object, size: int, since: float = 0.0) -> Room | None:
        """Return how many more groups of `size` pods fit; None if that cannot be known.

        Args:
            template: The pod template of the group's pods.
            size: Pods of a group.
            since: When a place was last freed that has to be seen (time.monotonic): older answers do not count.

        Raises:
            NotYet: so much has to be read for it that nobody should wait with a turn in hand.
        """
        found = self._spaces.known(since)
        return None if found is None else room(template, size, found)

    async def _list(self) -> list[Mapping[str, Any]]:
        # Not from the API server's memory (resourceVersion=0): it would send all nodes at once, whatever the limit.
        return [slim_node(node) async for page in self._pages("Node") for node in page]

    async def _survey(self) -> tuple[NodeSpace, ...] | None:
        nodes = await self._nodes.get()
        if nodes is None:
            return None
        used: Used = {}
        async for page in self._pages("Pod"):
            hold(used, page)
        found: list[NodeSpace] = []
        for start in range(0, len(nodes), CHUNK):
            found += spaces(nodes[start : start + CHUNK], used)
            await asyncio.sleep(0)
        return tuple(found)

    async def _pages(self, kind: str) -> AsyncIterator[Sequence[Object]]:
        async for page, _ in self._client.pages("v1", kind):
            yield page
            await asyncio.sleep(0)


class _Shared(Generic[_T]):
    """An answer that everybody shares who asks while it is gathered or fresh; then it is dropped."""

    def __init__(self, ask: Callable[[], Awaitable[_T | None]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._held: tuple[float, _T | Exception | None] | None = None
        """When it was asked for, and the answer."""

    async def get(self, since: float = 0.0) -> _T | None:
        """Return an answer that was asked for after a moment of time.monotonic; None if there is none."""
        while True:
            try:
                return self.known(since)
            except NotYet as wait:
                await asyncio.shield(wait.gathered)

    def known(self, since: float = 0.0) -> _T | None:
        """Return the same if it is there, else see to it that it will be. Raises NotYet."""
        if self._held is None or self._held[0] <= since:
            if self._asking is None:
                self._asking = asyncio.create_task(self._gather())
            raise NotYet(self._asking)
        answer = self._held[1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _gather(self) -> None:
        began = time.monotonic()
        answer: _T | Exception | None
        try:
            answer = await self._ask()
        except ClusterError:
            answer = None
        except Exception as bug:  # noqa: BLE001 - who asks raises it
            answer = bug
        finally:
            self._asking = None
        self._held = held = (began, answer)
        asyncio.get_running_loop().call_later(FRESH_SECONDS, self._drop, held)

    def _drop(self, held: tuple[float, _T | Exception | None]) -> None:
        if self._held is held:
            self._held = None


async def loads(routers: Iterable[Child]) -> Mapping[str, int] | None:
    """Ask the pickers of a deployment for the requests in flight by group, and add them up; None if one is silent."""
    addresses = sorted({each.address for each in routers if each.address and not each.deleting})
    if not addresses:
        return None
    timeout = aiohttp.ClientTimeout(total=LOADS_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
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
        async with session.get(f"http://{host}:{names.PICKER_PORT}/loads", allow_redirects=False) as answer:
            if answer.status != 200:
                return None
            document = await read_json(answer, _LOADS_BYTES)
            return {str(group): int(number) for group, number in document.items()}
    except Exception:  # noqa: BLE001 - a pod can answer in more ways than there are names for
        return None
