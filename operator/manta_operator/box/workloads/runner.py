"""The loop all controllers of the box share: watch → dirty keys → reconcile, with back-off per key.

A controller is level-based: it reads the whole state of one key from the cluster and corrects it. The loop never
ends by itself:
an ApiError is expected (a conflict, a name not yet free) and retried; anything else is a bug, logged with its
traceback and retried.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from manta_operator.box.cluster import ApiError, Cluster, Event
from manta_operator.box.workloads.objects import Key

log = logging.getLogger(__name__)

FIRST_BACKOFF = 0.1  # seconds; doubles with every failure in a row of one key
LONGEST_BACKOFF = 15.0


class Controller(Protocol):
    """One kind of care. `kinds` are watched ("*" alone: all of them)."""

    @property
    def name(self) -> str:
        """For logs."""

    @property
    def kinds(self) -> Sequence[str]:
        """What is watched."""

    def keys(self, event: Event, /) -> Iterable[Key]:
        """Which keys this change makes dirty."""

    def reconcile(self, key: Key, /) -> float | None:
        """Bring one key in order; seconds until it wants another look, None if only a change brings it back."""


Item = tuple[int, Key]


class Runner:
    """Runs controllers over one cluster in the current event loop, one reconcile at a time."""

    def __init__(self, cluster: Cluster, controllers: Sequence[Controller]) -> None:
        self._cluster = cluster
        self._controllers = tuple(controllers)
        self._due: dict[Item, float] = {}
        self._failures: dict[Item, int] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for index, controller in enumerate(self._controllers):
                tasks.create_task(self._watch(index, controller), name=f"watch-{controller.name}")
            tasks.create_task(self._work(), name="reconcile")

    async def _watch(self, index: int, controller: Controller) -> None:
        while True:
            try:
                async for event in self._cluster.watch(*controller.kinds):
                    for key in controller.keys(event):
                        self._add((index, key), time.monotonic())
            except ApiError as error:
                log.warning("%s: watch ended (%s), starting it again", controller.name, error.message)
            except Exception:  # the loop never dies: a bug in keys() must not stop the other controllers
                log.exception("%s: watch failed, starting it again", controller.name)
            await asyncio.sleep(1)

    def _add(self, item: Item, due: float) -> None:
        self._due[item] = min(due, self._due.get(item, due))
        self._wake.set()

    async def _work(self) -> None:
        while True:
            now = time.monotonic()
            ready = sorted((due, item) for item, due in self._due.items() if due <= now)
            for _, item in ready:
                if self._due.pop(item, None) is not None:
                    self._reconcile(item)
                await asyncio.sleep(0)
            if not ready:
                await self._idle()

    async def _idle(self) -> None:
        self._wake.clear()
        wait = min(self._due.values()) - time.monotonic() if self._due else None
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    def _reconcile(self, item: Item) -> None:
        index, key = item
        controller = self._controllers[index]
        try:
            again = controller.reconcile(key)
        except ApiError as error:
            delay = self._backoff(item)
            level = logging.DEBUG if error.reason in {"Conflict", "NotFound", "AlreadyExists"} else logging.WARNING
            log.log(level, "%s %s: %s (again in %.1f s)", controller.name, key, error.message, delay)
            again = delay
        except Exception:  # a bug in one controller must not stop the box
            again = self._backoff(item)
            log.exception("%s %s failed (again in %.1f s)", controller.name, key, again)
        else:
            self._failures.pop(item, None)
        if again is not None:
            self._add(item, time.monotonic() + max(again, 0.01))

    def _backoff(self, item: Item) -> float:
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        return min(FIRST_BACKOFF * float(2 ** min(failures, 10)), LONGEST_BACKOFF)
