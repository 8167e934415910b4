"""Processes of this pod that somebody has stopped (SIGSTOP, state T): they live, and the group waits for them for ever.

Nothing else notices one soon: sockets stay open, Ray asks for a minute, and vLLM waits for a step of that rank. What
is busy, swapped out, asleep or waits for a disk is in another state, and so is what a debugger holds (t): a healthy
process is never taken for frozen. Pure but for `look`; head.py and worker.py end the group by what is said here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from manta_runtime.engine.failure import FROZEN, EngineFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FROZEN_SECONDS = 10.0
"""Nobody who stops a process for longer means it well."""
_LOOK_SECONDS = 2.0
_ASLEEP_SECONDS = 8.0
"""After so long a pause between looks we were stopped, too, and whoever woke us may be waking the others."""

Process = tuple[int, float]
"""A process id and when that process was created: ids are used again."""


@dataclass(frozen=True)
class Stopped:
    """The processes that are stopped at `at`: their names, and since when (monotonic seconds) that is seen."""

    names: Mapping[Process, str]
    since: Mapping[Process, float]
    at: float


def after_look(before: Stopped | None, names: Mapping[Process, str], now: float) -> Stopped:
    """Return what is known after a look that saw these stopped processes."""
    if before is None or now - before.at > _ASLEEP_SECONDS:
        return Stopped(names, dict.fromkeys(names, now), now)
    return Stopped(names, {process: before.since.get(process, now) for process in names}, now)


def describe_frozen(stopped: Stopped) -> str:
    """Return which processes are frozen, "" for none."""
    frozen = {process: stopped.at - since for process, since in stopped.since.items()}
    frozen = {process: seconds for process, seconds in frozen.items() if seconds >= FROZEN_SECONDS}
    if not frozen:
        return ""
    names = ", ".join(f"{stopped.names[process]} (process {process[0]})" for process in sorted(frozen))
    verb = "has" if len(frozen) == 1 else "have"
    return f"{names} {verb} been stopped for {max(frozen.values()):.0f} s (SIGSTOP), and nobody lets it go on"


def look(known: Mapping[int, str]) -> dict[Process, str]:
    """Return the names of the stopped processes below this one; `known` are names by process id."""
    found: dict[Process, str] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() == psutil.STATUS_STOPPED:
                found[process.pid, process.create_time()] = known.get(process.pid) or _name(process)
        except psutil.Error:
            continue
    return found


async def watch_frozen(known: Callable[[], Mapping[int, str]]) -> None:
    """Look every few seconds until cancelled; `known` names the processes that have no telling name of their own.

    Raises EngineFailure when one is frozen.
    """
    stopped: Stopped | None = None
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        names = await asyncio.to_thread(look, known())
        stopped = after_look(stopped, names, time.monotonic())
        if frozen := describe_frozen(stopped):
            raise EngineFailure(f"{frozen}: the group starts again", code=FROZEN)


def _name(process: psutil.Process) -> str:
    # Ray and vLLM put their role in the place of the command line ("ray::RayWorkerProc", "VLLM::EngineCore"); others
    # may have secrets in theirs.
    title = (process.cmdline() or [""])[0]
    return title[:60] if "::" in title else process.name()
