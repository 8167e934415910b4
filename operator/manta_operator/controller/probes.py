"""Whether the operator makes progress: what `/healthz` and `/readyz` judge. Values here, HTTP in `probes_server`.

The daemons say when a pass begins and ends, the watches say what they heard, the elector when it renewed. Health is
judged from these by the clock alone: a process that only turns its event loop, while a pass hangs or no event comes
through any more, is not healthy. (A watch that fails ends the process, and one that is silent for 70 seconds is opened
anew: kopf does both. What is left is a watch that talks and is not heard; writes that are never heard of show it.)
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from manta_operator.controller import metrics

PASS_SECONDS = 600.0
"""A request of a pass takes 30 s at most: a pass that gets no answer for so long hangs. It may be longer than that."""
ECHO_SECONDS = 300.0
"""How long a write may go without any event of its kind. kopf opens a silent watch anew after 70 seconds."""
REQUEST_SECONDS = 30.0
"""A write takes no longer, and its event may come before its answer."""


_under_way: ContextVar[Hashable] = ContextVar("under_way", default=None)
"""The key of the pass that runs in this task, or that has started it."""


@dataclass
class Pass:
    """One pass under way; set `failure` to the reason if it does not end well."""

    failure: str | None = None


class Progress:
    """What is under way in this process, and since when (monotonic seconds)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._passes: dict[Hashable, float] = {}
        self._unheard: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._forbidden: dict[Hashable, str] = {}
        self._lease: tuple[Callable[[], float], float] | None = None
        self._also: list[Callable[[], str]] = []
        self.waits: Callable[[], str] = lambda: "the API server has not answered yet"
        """What this process waits for before it can act; empty: nothing. A standby that could take the lease waits for
        nothing."""

    def also_waits(self, what: Callable[[], str]) -> None:
        """Have `/readyz` wait for something else, too: it says for what, and nothing once it is there."""
        self._also.append(what)

    def blind(self, source: Hashable, message: str) -> None:
        """Note that the API server refuses to let this process list or watch a `source`."""
        self._forbidden[source] = message
        metrics.watches_forbidden(len(self._forbidden))

    def sees(self, source: Hashable) -> None:
        """Note that a source can be watched, or need not be."""
        if self._forbidden.pop(source, None) is not None:
            metrics.watches_forbidden(len(self._forbidden))

    def unready(self) -> tuple[str, ...]:
        """Return why `/readyz` does not agree; empty if it does: who is not let see may not be trusted to act."""
        waits = [said for each in (self.waits, *self._also) if (said := each())]
        return (*waits, *self._forbidden.values())

    @contextmanager
    def passing(self, key: Hashable) -> Iterator[Pass]:
        """Surround one pass over the LLMDeployment `key`: counts and times it, and notices when it hangs."""
        began = self._clock()
        self._passes[key] = began
        under_way = _under_way.set(key)
        result = Pass()
        try:
            yield result
        except asyncio.CancelledError:
            result.failure = "Cancelled"
            raise
        except Exception:
            result.failure = result.failure or "Bug"
            raise
        finally:
            _under_way.reset(under_way)
            del self._passes[key]
            metrics.passed(self._clock() - began, result.failure)

    def answered(self) -> None:
        """Note that a request was answered, or given up: the pass that sent it, if one did, does not hang."""
        key = _under_way.get()
        if key in self._passes:
            self._passes[key] = self._clock()

    def wrote(self, kind: str) -> None:
        """Expect an event of a watched `kind`: call it after a write that gave the object a new resourceVersion.

        Nothing is expected where an event has just come: it may have been this write's.
        """
        now = self._clock()
        if kind not in self._heard or now - self._heard[kind] > REQUEST_SECONDS:
            self._unheard.setdefault(kind, now)

    def heard(self, kind: str) -> None:
        """Note that a watch delivered an event, or a bookmark, of `kind`."""
        self._heard[kind] = self._clock()
        self._unheard.pop(kind, None)

    def holds_lease(self, age: Callable[[], float], limit: float) -> None:
        """From now on this process leads: `age` says how many seconds ago it renewed, `limit` how many are fine."""
        self._lease = (age, limit)

    def problems(self) -> tuple[str, ...]:
        """Return why the process should be started again; empty if it is healthy."""
        now = self._clock()
        found = [
            f"the pass over {_named(key)} has had no answer for {now - since:.0f} s"
            for key, since in self._passes.items()
            if now - since > PASS_SECONDS
        ]
        found += [
            f"no event of any {kind} has come for {now - since:.0f} s, although one was written"
            for kind, since in self._unheard.items()
            if now - since > ECHO_SECONDS
        ]
        if self._lease is not None and (age := self._lease[0]()) > self._lease[1]:
            found.append(f"the lease was renewed {age:.0f} s ago")
        return tuple(found)


progress = Progress()
"""The progress of this process."""


def _named(key: Hashable) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
