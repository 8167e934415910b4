"""The loop of one LLMDeployment: a pass whenever something changed or is due. It never raises, whatever a pass does."""

import asyncio
import logging

from manta_operator.controller import metrics
from manta_operator.controller.deployments import Entry
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.kinds import OBSERVED
from manta_operator.controller.probes import progress
from manta_operator.controller.reconcile import Outcome, Reconciler
from manta_operator.controller.rhythm import Rhythm
from manta_operator.controller.store import Store

log = logging.getLogger(__name__)

PASSES_AT_ONCE = 40
"""A bare loop is a third faster with 64 requests at once than with 16; these leave some of the connections free."""
COLLECT_SECONDS = 0.02
"""What comes within this time after a wakeup is judged with it."""
STOP_SECONDS = 1.0
"""How long a pass may go on when the object or the operator goes, before it is cancelled."""
BLIND_SECONDS = 10.0
"""How long the store may take to fill before it is said why it does not."""


class Loop:
    """Runs the loops of all LLMDeployments, a few passes at a time."""

    def __init__(self, reconciler: Reconciler, store: Store, rhythm: Rhythm) -> None:
        self._reconciler, self._store, self._rhythm = reconciler, store, rhythm
        self._turns = asyncio.Semaphore(PASSES_AT_ONCE)

    async def run(self, entry: Entry) -> None:
        """Make passes until the watch says that the LLMDeployment goes; on cancellation a pass under way may finish.

        Nothing else ends it: who ends has nobody who would begin again. A pass that finds the object gone before the
        watch has said so only has nothing to do.
        """
        try:
            while not entry.leaving:
                await self._sight(entry)
                await self._reconciler.prepare(entry)
                outcome = await self._turn(entry)
                if outcome.gone:
                    metrics.forgotten(entry.key)
                if outcome.until is not None:
                    await asyncio.wait({outcome.until})  # without a turn: others need not wait for it, too
                    continue
                await asyncio.sleep(outcome.deaf)
                if await self._roused(entry, outcome.pause - outcome.deaf):
                    await asyncio.sleep(COLLECT_SECONDS)
        finally:
            self._reconciler.leave(entry)
            metrics.forgotten(entry.key)

    async def _roused(self, entry: Entry, seconds: float) -> bool:
        """Wait so long that something happens, and return whether it did; the fetches are asked meanwhile."""
        attending = asyncio.create_task(self._reconciler.attend(entry))
        try:
            # Not wait_for: in Python 3.11 it loses a cancellation that comes together with the flag.
            async with asyncio.timeout(max(0.0, seconds)):
                await entry.flag.wait()
        except TimeoutError:
            return False
        finally:
            attending.cancel()
        return True

    async def _sight(self, entry: Entry) -> None:
        """Wait until the store knows every kind: else what is missing may only not be seen, or no longer."""
        while True:
            try:
                async with asyncio.timeout(BLIND_SECONDS):
                    await self._store.ready(entry.key[0])
                    return
            except TimeoutError:
                for trouble in self._store.troubles(OBSERVED, entry.key[0])[:1]:
                    await self._reconciler.statuses.report(entry, trouble.reason, trouble.message)

    async def _turn(self, entry: Entry) -> Outcome:
        async with self._turns, entry.turn:
            if entry.leaving:
                return Outcome()
            entry.flag.clear()
            work = asyncio.ensure_future(self._pass(entry))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait({work}, timeout=STOP_SECONDS)
                work.cancel()
                raise

    async def _pass(self, entry: Entry) -> Outcome:
        memory = entry.memory
        with progress.passing(entry.key) as noted:
            try:
                outcome = await self._reconciler.run(entry)
            except ClusterError as error:
                noted.failure = error.reason
                if error.message not in memory.complaints:
                    log.warning("%s/%s: %s", *entry.key, error)
                memory.complaints = (error.message,)
                memory.failed += 1
                asked = error.retry_after or 0.0
                return Outcome(self._rhythm.retry(memory.failed, asked), deaf=asked)
            except Exception as error:
                noted.failure = "InternalError"
                log.exception("%s/%s: a bug; the loop goes on", *entry.key)
                memory.failed += 1
                message = f"a bug in the operator: {type(error).__name__}: {error}; its log has the traceback"
                await self._reconciler.statuses.report(entry, "InternalError", message)
                return Outcome(self._rhythm.retry(memory.failed))
            if memory.complaints and not memory.failed:
                memory.complaints = ()
            return outcome
