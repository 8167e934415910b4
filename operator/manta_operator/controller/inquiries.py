"""All that the operator asks engine pods beside the passes: one list, so that a loop need not know who asks what.

Each is an `Inquiry`, and never raises.
"""

import asyncio

from manta_operator.controller.adapters import Adapters
from manta_operator.controller.asking import Asker
from manta_operator.controller.deployments import Entry
from manta_operator.controller.engine_facts import Engines
from manta_operator.controller.fetches import Fetches
from manta_operator.controller.store import Store


class Inquiries:
    """The askers, and the connections that they share."""

    def __init__(self, store: Store) -> None:
        self._asker = Asker()
        self._each = (
            Fetches(store, self._asker),
            Adapters(store, self._asker),
            Engines(store, self._asker),
        )

    async def close(self) -> None:
        """Close what connects to the pods."""
        await self._asker.close()

    async def ask(self, entry: Entry) -> None:
        """Ask what it is time to ask. Never raises."""
        await asyncio.gather(*(each.ask(entry) for each in self._each))

    async def keep_asking(self, entry: Entry) -> None:
        """Ask for as long as anybody has something to ask, and wake the loop for news."""
        await asyncio.gather(*(each.keep_asking(entry) for each in self._each))
