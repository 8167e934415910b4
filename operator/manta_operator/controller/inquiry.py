"""One thing that the operator asks the pods of deployments, beside the passes and without their turns. Never fails.

`fetches.py`, `adapters.py` and `engine_facts.py` say whom, what and how often; here is what they share: the answers
stand in the memory of the deployment until the next pass takes them, a bug ends no loop, and only news is worth a pass.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from typing import ClassVar

from manta_operator.controller.asking import Asker
from manta_operator.controller.deployments import Entry
from manta_operator.controller.store import Store

log = logging.getLogger(__name__)

BUG_SECONDS = 10.0
"""How long nothing is asked after a bug."""


class Inquiry(ABC):
    """Asks about one path of the pods' control port."""

    path: ClassVar[str]
    """What of the control port, by which the memory of a deployment also knows when it is asked again."""
    unknown: ClassVar[str]
    """What is not known when it fails, for the log."""

    def __init__(self, store: Store, asker: Asker) -> None:
        self._store, self._asker = store, asker

    async def ask(self, entry: Entry) -> bool:
        """Ask, if it is time, and return whether there is news. Never raises."""
        try:
            return await self._ask(entry)
        except Exception:
            self._put_off(entry, BUG_SECONDS)
            log.exception("%s/%s: a bug; %s is not known", *entry.key, self.unknown)
            return False

    async def keep_asking(self, entry: Entry) -> None:
        """Ask whenever it is time until there is news, and then wake the loop. Ends if there is nobody to ask."""
        while self._anybody(entry):
            await asyncio.sleep(max(0.0, self._again_at(entry) - time.monotonic()))
            if await self.ask(entry):
                entry.flag.set()
                return

    def _again_at(self, entry: Entry) -> float:
        """Return when it is to be asked again, in monotonic seconds; long ago for what never was."""
        return entry.memory.again.get(self.path, 0.0)

    def _put_off(self, entry: Entry, seconds: float) -> None:
        entry.memory.again[self.path] = time.monotonic() + seconds

    @abstractmethod
    def _anybody(self, entry: Entry) -> bool:
        """Whether there is anybody to ask, now or when it is time."""

    @abstractmethod
    async def _ask(self, entry: Entry) -> bool:
        """Ask, if it is time, put it off before that, and return whether there is news."""
