"""Notes what changes in a deployment that scales, and when: by watches, and by looks at who waits where. Effects.

The engines are asked themselves, and the routers' metrics, not the document that the operator decides from.
"""

import asyncio
import re
import time
from dataclasses import replace
from typing import Self

import aiohttp

from traffic.api import Object
from traffic.scaling.timeline import Moment
from traffic.world import NAME, World, is_ready

_LOOK_SECONDS = 0.2
_TIMEOUT = aiohttp.ClientTimeout(total=1.0)
_ENGINE = 8000
_PICKER = 9002
_WAITING = re.compile(rb"^vllm:num_requests_waiting{[^}]*} ([0-9.e+]+)", re.MULTILINE)
_HELD = re.compile(rb"^manta_router_held ([0-9.e+]+)", re.MULTILINE)


class Watch:
    """Notes `moments` from `async with` on; every change of any number is a new one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: dict[str, dict[str, Object]] = {"LLMDeployment": {}, "StatefulSet": {}, "Pod": {}}
        self._tasks: list[asyncio.Task[None]] = []
        self.moments = [Moment(time.monotonic())]
        self.ready_at: dict[str, float] = {}
        """When a pod was first seen Ready, by uid; monotonic seconds."""
        self.started_at: dict[str, float] = {}
        """When the engine of a pod was first seen running, by uid."""
        self.made_at: dict[str, float] = {}
        """When a StatefulSet was first seen, by uid."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(force_close=True))
        self._tasks = [asyncio.create_task(self._follow(kind)) for kind in self._found]
        self._tasks.append(asyncio.create_task(self._look()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    @property
    def now(self) -> Moment:
        """The last moment."""
        return self.moments[-1]

    def engines(self) -> list[Object]:
        """Return the engine pods there are, those that end included, as last seen."""
        return self._pods("engine")

    async def _follow(self, kind: str) -> None:
        selector = "" if kind == "LLMDeployment" else f"manta.dev/deployment={NAME}"
        while True:
            self._found[kind].clear()
            try:
                async for change, body in self._world.api.watch(kind, selector):
                    self._take(kind, change, body)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                await asyncio.sleep(0.2)

    def _take(self, kind: str, change: str, body: Object) -> None:
        if change not in ("ADDED", "MODIFIED", "DELETED"):
            return
        uid = body["metadata"]["uid"]
        if change == "DELETED":
            self._found[kind].pop(uid, None)
        else:
            self._found[kind][uid] = body
        if kind == "StatefulSet":
            self.made_at.setdefault(uid, time.monotonic())
        if kind == "Pod" and _of(body) == "engine":
            if is_ready(body):
                self.ready_at.setdefault(uid, time.monotonic())
            if _runs(body):
                self.started_at.setdefault(uid, time.monotonic())
        self._note()

    def _note(self, **looked: int) -> None:
        status = next((each.get("status") or {} for each in self._found["LLMDeployment"].values()), {})
        scaled: Object = next((each for each in status.get("conditions") or () if each["type"] == "Autoscaled"), {})
        engines = self._pods("engine")
        sets = [each for each in self._found["StatefulSet"].values() if not each["metadata"].get("deletionTimestamp")]
        moment = replace(
            self.now,
            asked=(status.get("autoscaling") or {}).get("replicas"),
            groups=len(sets),
            pods=len(engines),
            ready=sum(map(is_ready, engines)),
            reason=scaled.get("reason", ""),
            **looked,
        )
        if moment != self.now:
            self.moments.append(replace(moment, at=time.monotonic()))

    def _pods(self, component: str) -> list[Object]:
        return [each for each in self._found["Pod"].values() if _of(each) == component]

    async def _look(self) -> None:
        while True:
            waiting, held = await asyncio.gather(
                self._sum("engine", _ENGINE, _WAITING), self._sum("router", _PICKER, _HELD)
            )
            self._note(waiting=waiting, held=held)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _sum(self, component: str, port: int, metric: re.Pattern[bytes]) -> int:
        addresses = [(each.get("status") or {}).get("podIP") for each in self._pods(component)]
        found = await asyncio.gather(*(self._metric(f"http://{a}:{port}/metrics", metric) for a in addresses if a))
        return sum(found)

    async def _metric(self, url: str, metric: re.Pattern[bytes]) -> int:
        try:
            async with self._session.get(url) as response:
                found = metric.search(await response.read())
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return 0
        return int(float(found[1])) if found else 0


def _of(pod: Object) -> str:
    return str(pod["metadata"]["labels"].get("app.kubernetes.io/component", ""))


def _runs(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(each["name"] == "engine" and "running" in (each.get("state") or {}) for each in statuses)
