"""What this pod has to tell of itself: its phase, what vLLM has said, drains, stalls, restarts. One per launcher.

Head and worker write it, children are heard through it, telling.py reads it. It lives in the event loop's thread; only
`phase` is read by others (the log's). It judges nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from manta_runtime.engine.log_lines import Line, Place, Source, read_line
from manta_runtime.engine.phases import Phase, Timeline, begin, describe_last, hear
from manta_runtime.engine.vllm_words import Facts, learn, listens, phase_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from manta_runtime.engine.log_output import Output
    from manta_runtime.engine.restarts import Past
    from manta_runtime.engine.settings import EngineSettings

log = logging.getLogger("manta.engine")


class Journal:
    """The pod's own account. Durations in seconds; counts since this launcher started."""

    def __init__(self, place: Place, past: Past | None = None, model: str = "") -> None:
        self.place = place
        self.past = past
        self.model = model
        self.timeline = Timeline()
        self.facts = Facts()
        self.drains = 0
        self.drain_seconds: float | None = None
        self.in_flight: int | None = None
        self.cut_off = 0
        self._known_in_flight = 0
        self.stalls = 0
        self._stalled = False
        self._output: Output | None = None
        self._listens = asyncio.Event()

    @property
    def phase(self) -> str:
        """The phase of now, "" before the first."""
        return self.timeline.phase or ""

    def write_to(self, output: Output) -> None:
        """Hand on what the children print to the pod's log; without it goes to stderr as it is."""
        self._output = output

    def hide(self, secret: str) -> None:
        """Let no line of the log show this value from now on."""
        if self._output:
            self._output.hide(secret)

    def begin(self, phase: Phase) -> None:
        """Note that a phase begins now, and say so in the log."""
        self._advance(begin(self.timeline, phase, time.time(), time.monotonic()))

    def listener(self, source: Source) -> Callable[[str], None]:
        """Return what hears every line that a child prints, and hands it on."""

        def listen(raw: str) -> None:
            line = read_line(raw)
            # Before it serves: later lines are users' business, and say nothing of the start.
            if source == "vllm" and self.timeline.phase != "ready":
                self._learn(line)
            if self._output:
                self._output.tell(source, line, raw)
            else:
                sys.stderr.write(raw + "\n")

        return listen

    async def until_it_listens(self, seconds: float) -> None:
        """Wait until vLLM has said that its server answers, `seconds` at most; the first time it counts only."""
        if self._listens.is_set():
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._listens.wait()

    def note_stall(self, stall: str) -> None:
        """Note why the engine makes no progress, "" when it does; each stall counts once."""
        self.stalls += bool(stall) and not self._stalled
        self._stalled = bool(stall)

    def drain_begins(self) -> None:
        """Note that this pod stops taking requests."""
        self.drains += 1
        self.begin("draining")

    def drain_looks(self, seconds: float, in_flight: int | None) -> None:
        """Note what a drain has seen after so many seconds; None: vLLM did not say what is in flight."""
        self.drain_seconds, self.in_flight = seconds, in_flight
        self._known_in_flight = self._known_in_flight if in_flight is None else in_flight

    def drain_engine_died(self) -> None:
        """Note that the engine ended in mid-drain: what was in flight when it last said so is what it had."""
        self.in_flight = self._known_in_flight

    def drain_cuts_off(self) -> None:
        """Note that what is in flight is cut off."""
        self.cut_off += self.in_flight or 0

    def drain_ends(self, *, killed: bool) -> None:
        """Say what the drain has come to: the pod ends before anybody can ask for these numbers."""
        count = "unknown" if killed and self.in_flight is None else self.cut_off
        log.info("drain over after %.1f s, %s requests cut off", self.drain_seconds or 0.0, count)

    def _learn(self, line: Line) -> None:
        try:
            self.facts = learn(self.facts, line)
        except (ValueError, TypeError, IndexError) as error:
            # Words of another version of vLLM must never end an engine.
            log.warning("not understood (%s): %.200s", error, line.message)
        phase = phase_of(line)
        if phase:
            self._advance(hear(self.timeline, phase, time.time(), time.monotonic()))
        if listens(line):
            self._listens.set()

    def _advance(self, timeline: Timeline) -> None:
        if timeline is not self.timeline:
            self.timeline = timeline
            log.info("%s", describe_last(timeline))


def place_of(settings: EngineSettings) -> Place:
    """Return whose log it is; a pod's name is its group's, a dash and its rank."""
    group = settings.pod_name.rpartition("-")[0] or settings.pod_name
    return Place(group=group, rank=settings.rank, pod=settings.pod_name)
