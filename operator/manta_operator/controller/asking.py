"""Asks pods over HTTP what only they know, many at once. Never fails: no answer in time is None.

`fetches.py` and its like ask beside the passes, and keep the answers in the memory of the deployment. What answers is a
container of somebody else's: it may say anything, at any length, so what comes back is JSON and no more than that.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from manta_operator.api import names
from manta_operator.controller.answers import read_json
from manta_operator.controller.children import Child, Key
from manta_operator.controller.store import Store

ANSWER_SECONDS = 2.0
_CONNECTIONS = 256
"""Pods of all deployments that are asked at once."""


class Asker:
    """The connections to the control ports of engine pods."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what connects to the pods."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, pods: Sequence[Child], path: str, limit: int) -> dict[str, Any]:
        """Ask all of them for a document, and return those that came, by the uid of the pod.

        Args:
            pods: Whom to ask; each has an address.
            path: What of their control port.
            limit: Bytes that an answer may have.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # what is small on the wire need not be small
            )
        found = await asyncio.gather(*(_answer(self._session, pod.address, path, limit) for pod in pods))
        return {pod.uid: document for pod, document in zip(pods, found, strict=True) if document is not None}


def heads(store: Store, key: Key) -> list[Child]:
    """Return the head pods of a deployment that have an address and are to stay, by name."""
    children = store.of(key).values()
    found = [each for each in children if each.head and each.address and not store.going(each)]
    return sorted(found, key=lambda each: each.name)


async def _answer(session: aiohttp.ClientSession, address: str, path: str, limit: int) -> Any:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{names.CONTROL_PORT}{path}", allow_redirects=False) as response:
            return await read_json(response, limit) if response.status == 200 else None
    except Exception:  # noqa: BLE001 - a pod can answer in more ways than there are names for, and none may end a loop
        return None
