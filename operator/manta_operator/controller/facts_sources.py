"""Where the facts of a model come from, one source after the other; `planning/known.py` tells the order.

A pass reads what is there: `read` before it may wait for a moment, `last` and `known` do not. What comes later wakes
the deployments that it concerns.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from manta_operator.controller.catalog_map import CatalogMap
from manta_operator.controller.children import Key
from manta_operator.controller.client import KubeClient
from manta_operator.controller.deployments import Deployments
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.facts_http import Refused, session
from manta_operator.controller.facts_hubs import Hubs, TokenOf
from manta_operator.controller.facts_reader import Facts, FactsReader
from manta_operator.controller.settings import Settings
from manta_operator.facts.extension import Extension
from manta_operator.facts.locate import locator
from manta_operator.planning.known import Asked, Known, of_catalogs

CHECKPOINT = "the checkpoint itself"
TOKEN_KEY = "HF_TOKEN"  # noqa: S105 - the name of a key


class Sources:
    """The checkpoint, the catalogs and, where they may be asked, hubs."""

    def __init__(self, reader: FactsReader, own: CatalogMap | None = None, hubs: Hubs | None = None) -> None:
        self._reader, self._own, self._hubs = reader, own, hubs

    async def read(self, asked: Asked, key: Key) -> Known:
        """Return what is known, after a little patience with disks, the API server and hubs."""
        if self._own:
            await self._own.first()
        found = self._known(asked, await self._reader.read(asked.uri), None)
        if not self._hubs or found.facts or found.trouble:
            return found
        await self._hubs.read(asked, key)
        return self._known(asked, await self._reader.last(asked.uri), key)

    async def last(self, asked: Asked, key: Key) -> Known:
        """Return what is known now; only a checkpoint that was never looked at is waited for."""
        return self._known(asked, await self._reader.last(asked.uri), key)

    def known(self, asked: Asked) -> Known:
        """Return what is known now, without a wait, and without anybody being asked."""
        return self._known(asked, self._reader.known(asked.uri), None)

    def _known(self, asked: Asked, seen: Facts, key: Key | None) -> Known:
        own = self._own.extension if self._own else Extension()
        facts, trouble = seen
        if facts or trouble:
            found = Known(facts, CHECKPOINT if facts else "", trouble=trouble)
        else:
            found = of_catalogs(asked, own, self._own.where if self._own else "")
            if found.facts is None and self._hubs:
                said = self._hubs.known(asked, key)
                why = "; ".join(part for part in (found.why, said.why) if part)
                found = said if said.facts else replace(said, why=why)
        return replace(found, accelerators=own.accelerators, unread=self._own.unread if self._own else "")


@asynccontextmanager
async def sourcing(
    client: KubeClient, settings: Settings, deployments: Deployments, *, tells: bool = True
) -> AsyncIterator[Sources]:
    """Open the sources that the settings name, for as long as the operator runs."""
    async with AsyncExitStack() as stack:
        own = hubs = None
        if settings.catalog:
            own = CatalogMap(client, settings.namespace, settings.catalog, deployments.wake_all, tells=tells)
            stack.callback(asyncio.create_task(own.run()).cancel)
        if settings.hubs:
            to_hubs = await stack.enter_async_context(session())
            hubs = Hubs(to_hubs, settings.hubs, deployments.wake, _tokens(client) if settings.reads_secrets else None)
            stack.push_async_callback(hubs.close)
        yield Sources(FactsReader(locator(settings.host_paths)), own, hubs)


def _tokens(client: KubeClient) -> TokenOf:
    async def token_of(namespace: str, name: str) -> str:
        try:
            body = await client.get("v1", "Secret", namespace, name)
        except ClusterError as error:
            raise Refused(error.message) from error
        try:
            text = base64.b64decode(((body or {}).get("data") or {})[TOKEN_KEY], validate=True).decode("ascii").strip()
        except KeyError:
            text = ""
        except (binascii.Error, ValueError, TypeError):
            text = "\n"
        if not text or not text.isprintable():
            raise Refused(f"Secret {name} has no key {TOKEN_KEY} with a token")
        return text

    return token_of
