"""Look at a replica's pods and processes ten times a second, and note when what happened first. Effects, and times.

All times are seconds since the fault, None for what has not happened.
"""

import asyncio
import datetime as dt
import time
from dataclasses import dataclass, field

import psutil
from traffic.api import Object
from traffic.world import is_ready

from faults.processes import alive
from faults.world import World, conditions

_LOOK_SECONDS = 0.1
_OF_INTEREST = ("Ready", "Degraded", "Progressing", "Available")


@dataclass
class Seen:
    """What was seen of a replica since its fault. `said`: the words of pods that ended, conditions and events."""

    unready: float | None = None
    ended: float | None = None
    ready: float | None = None
    paused: float | None = None
    """How long a kubelet waited at most before it started a launcher again; a part of `ready`."""
    terminated: dict[str, str] = field(default_factory=dict)
    conditions: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


class Watch:
    """Watches one replica from the moment before its fault: its pods `before`, its processes `living`."""

    def __init__(self, world: World, head: str, before: list[Object], launchers: list[psutil.Process]) -> None:
        self._world, self._head = world, head
        self._containers = {str(pod["metadata"]["name"]): container_of(pod) for pod in before}
        self._launchers = launchers
        self._uids: set[str] = set()
        self._told: set[str] = set()
        self.began = 0.0
        self.seen = Seen()

    async def begin(self) -> None:
        """Note what is there already; the fault comes next."""
        for event in await self._world.api.list("Event"):
            self._told.add(_key(event))
        body = await self._world.api.find("LLMDeployment", self._world.name) or {}
        self.seen.conditions = []
        self._told |= {_words(each) for each in conditions(body)}

    async def until_ready(self, seconds: float) -> bool:
        """Watch until every launcher from before has ended and every pod is ready again; False if that is too long."""
        while (now := time.monotonic() - self.began) < seconds:
            pods = (await self._world.groups()).get(self._head, [])
            self._look_at(pods, now)
            await self._listen()
            if self.seen.ready is not None:
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    def _look_at(self, pods: list[Object], now: float) -> None:
        seen = self.seen
        ready = {str(pod["metadata"]["name"]): is_ready(pod) for pod in pods}
        if seen.unready is None and not ready.get(self._head):
            seen.unready = now
        if seen.ended is None and not alive(self._launchers):
            seen.ended = now
        for pod in pods:
            self._note_end(pod)
        anew = all(container_of(pod) not in ("", self._containers.get(str(pod["metadata"]["name"]))) for pod in pods)
        if anew and seen.ended is not None and len(pods) == len(self._containers) and all(ready.values()):
            seen.ready = now
            seen.paused = max(map(_pause, pods))

    def _note_end(self, pod: Object) -> None:
        name = str(pod["metadata"]["name"])
        for status in pod["status"].get("containerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated")
            # A pod has the last end of before the fault, too.
            if ended and self._containers.get(name) == ended.get("containerID"):
                words = str(ended.get("message") or "").strip().splitlines()
                last = words[-1] if words else ""
                self.seen.terminated[name] = f"exit code {ended.get('exitCode')}: {last}"

    async def _listen(self) -> None:
        body = await self._world.api.find("LLMDeployment", self._world.name) or {}
        for each in conditions(body):
            if each["type"] in _OF_INTEREST and (words := _words(each)) not in self._told:
                self._told.add(words)
                self.seen.conditions.append(words)
        for event in await self._world.api.list("Event"):
            if (key := _key(event)) not in self._told:
                self._told.add(key)
                about = event["involvedObject"]
                text = f"{about['kind']} {about['name']}: {event['reason']}: {event['message']}"[:300]
                if text not in self.seen.events:
                    self.seen.events.append(text)


def container_of(pod: Object) -> str:
    """Return the id of the running container of an engine's pod, "" while none runs."""
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == "engine" and "running" in (status.get("state") or {}):
            return str(status.get("containerID", ""))
    return ""


def _pause(pod: Object) -> float:
    """Return the seconds between the latest end and start of an engine's container, as far as its status tells."""
    for status in pod["status"]["containerStatuses"]:
        ended = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        begun = ((status.get("state") or {}).get("running") or {}).get("startedAt")
        if status["name"] == "engine" and ended and begun:
            return (dt.datetime.fromisoformat(begun) - dt.datetime.fromisoformat(ended)).total_seconds()
    return 0.0


def _words(condition: Object) -> str:
    return f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}"


def _key(event: Object) -> str:
    return f"{event['metadata']['uid']} {event.get('count')} {event['message']}"
