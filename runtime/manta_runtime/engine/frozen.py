"""Processes of this pod: which of vLLM and Ray have ended, and which somebody has stopped (SIGSTOP, state T).

Stopped ones live, and the group waits for them for ever. Nothing else notices one soon: sockets stay open, Ray asks for
a minute, and vLLM waits for a step of that rank. What is busy, swapped out, asleep or waits for a disk is in another
state, and so is what a debugger holds (t): a healthy process is never taken for frozen. Nor does a process count that
is no part of the engine, such as a helper or a shell. Pure but for `look` and `Watch`; head.py and worker.py end the
group by what is said here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from manta_runtime.engine.failure import FROZEN, EngineFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger("manta.engine")

_RAYS = ("raylet", "gcs_server")
_TOLD = 3
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


@dataclass(frozen=True)
class Seen:
    """One look at the processes below this one: the roles of all in the engine ("": none), and which is stopped."""

    roles: Mapping[Process, str]
    stopped: Mapping[Process, str]


def look(known: Mapping[int, str]) -> Seen:
    """Return the processes below this one; `known` are names by process id."""
    roles: dict[Process, str] = {}
    stopped: dict[Process, str] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            status, key = process.status(), (process.pid, process.create_time())
            if status == psutil.STATUS_ZOMBIE:
                continue
            role = known.get(process.pid) or _role(process)
            roles[key] = role
            if status == psutil.STATUS_STOPPED and role:
                stopped[key] = role
        except psutil.Error:
            continue
    return Seen(roles, stopped)


class Watch:
    """Looks at this pod's processes until it is cancelled; `gone` tells which have ended, oldest first."""

    def __init__(self) -> None:
        self.gone: list[str] = []

    async def run(self, known: Callable[[], Mapping[int, str]]) -> None:
        """Look every few seconds; `known` names processes, by id, that have no telling name of their own.

        Raises EngineFailure when a process is frozen.
        """
        roles: Mapping[Process, str] = {}
        stopped: Stopped | None = None
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            named = known()
            seen = await asyncio.to_thread(look, named)
            # When vLLM's API server is gone, the others go with it and tell nothing.
            if all(any(process[0] == pid for process in seen.roles) for pid in named):
                self._note(roles, seen.roles)
            roles = seen.roles
            stopped = after_look(stopped, seen.stopped, time.monotonic())
            if frozen := describe_frozen(stopped):
                raise EngineFailure(f"{frozen}: the group starts again", code=FROZEN)

    def _note(self, before: Mapping[Process, str], now: Mapping[Process, str]) -> None:
        # Gone within one look: who started the others first, as it takes them along.
        for process in sorted(before.keys() - now.keys(), key=lambda each: each[1]):
            if before[process]:
                self.gone.append(f"{before[process]} (process {process[0]})")
                log.warning("%s has ended", self.gone[-1])

    def words(self, said: Sequence[str] = ()) -> str:
        """Return which processes had ended before, as the end of a sentence; "" for none. `said` is known better."""
        if said:
            return f"; before that {', '.join(said)}"
        return f"; before that {', '.join(self.gone[:_TOLD])} had ended" if self.gone else ""


def _role(process: psutil.Process) -> str:
    """Return what vLLM and Ray put in the place of the command line, as "VLLM::EngineCore"; "" for all others."""
    title = (process.cmdline() or [""])[0]
    if title.startswith("ray::IDLE"):
        return ""
    return title[:60] if "::" in title else process.name() if process.name() in _RAYS else ""
