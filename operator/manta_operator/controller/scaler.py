"""The autoscaler's effects: it looks at the routers beside the passes, decides, and wakes the loop for another number.

    pass   number       how many replicas are asked for now, within the bounds of now
           watch        what was planned; from the first plan on there are looks
    look   every LOOK_SECONDS: ask the routers, decide (`scaling.decide`, pure), remember
    zero   nothing is asked for: a question waits at each router for the first request

A look goes on while passes are slow, fail or wait for the API server: the number is ready when they can act. A pass is
wanted at once for another number, and now and then for what else is worth telling. Nothing that a router says, and no
bug of the decision, ends the looks: the number stays, and the condition says why.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Mapping

from manta_operator.api.models import LLMDeployment
from manta_operator.controller import metrics_scaling
from manta_operator.controller.children import Child
from manta_operator.controller.demand import Routers, look_seconds
from manta_operator.controller.deployments import Entry
from manta_operator.controller.scale_losses import remember
from manta_operator.controller.scale_memory import Planned, Scale, Silent
from manta_operator.controller.scale_told import begun, told
from manta_operator.controller.statuses import timestamp
from manta_operator.controller.store import Store
from manta_operator.planning import autoscale
from manta_operator.planning.autoscale_starts import watched
from manta_operator.scaling.decide import Decision, decide
from manta_operator.scaling.ledger import once, take, unsure
from manta_operator.scaling.reading import Document, engines
from manta_operator.scaling.saturation import doubtful
from manta_operator.scaling.settings import LOOK_SECONDS
from manta_operator.scaling.signals import Demand, EngineSignals, Signals

log = logging.getLogger(__name__)

SOON_SECONDS = 1.2
"""When to look again after the first look that saw requests find no room: by then routers have
looked at their engines anew."""
BUG_SECONDS = 10.0
"""How long nothing is looked at after a bug outside the decision."""
NEWS_SECONDS = 60.0
"""How often a pass is wanted at most for news that is no other number."""
TURN_SECONDS, BACK_SECONDS = 10.0, 30.0
"""The same for a router that falls silent, or is back: one that comes and goes is told of now and then."""
JUMP_SECONDS = 10.0
"""A machine that was suspended may not have counted the time: then nobody knows how long what routers counted took."""
MOST_FAULTS = 30
"""Decisions in a row that end in a bug: then what was watched is forgotten, for it may be the cause."""


class Scaler:
    """Looks at all deployments whose replicas follow the demand."""

    def __init__(self, store: Store) -> None:
        self._routers = Routers(store)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, int] = {}
        """How many routers each deployment has, by its uid."""

    async def close(self) -> None:
        """End the looks and the connections."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._routers.close()

    def number(self, entry: Entry, deployment: LLMDeployment) -> int:
        """Return how many replicas are asked for now: what was decided last, within the bounds of now."""
        memory, wish = entry.memory, deployment.spec.autoscaling
        if wish is None:
            memory.scale = None
            self.leave(entry)
            return deployment.spec.replicas
        if memory.scale is None:
            memory.scale = begun(deployment, entry.status())
        memory.scale.asked = min(wish.max_replicas, max(wish.min_replicas, memory.scale.asked))
        return memory.scale.asked

    def watch(self, entry: Entry, planned: Planned) -> None:
        """Take in what a pass has planned; from the first one on there are looks."""
        scale = entry.memory.scale
        if scale is None:
            return
        scale.planned, scale.groups = planned, len(planned.observed.groups)
        scale.starts = watched(scale.starts, planned.observed, planned.revision)
        if entry.uid not in self._tasks and not entry.leaving:
            self._tasks[entry.uid] = task = asyncio.create_task(self._keep_looking(entry))
            task.add_done_callback(lambda _: self._ended(entry, task))

    def hold(self, entry: Entry) -> None:
        """Keep the number, and go on looking: nothing can be planned, so nothing would follow another one.

        What was observed of the groups grows old meanwhile, and no decision is made from it.
        """
        if entry.memory.scale is not None:
            entry.memory.scale.planned = None

    def leave(self, entry: Entry) -> None:
        """Look no more."""
        if task := self._tasks.get(entry.uid):
            task.cancel()

    def _ended(self, entry: Entry, task: asyncio.Task[None]) -> None:
        if self._tasks.get(entry.uid) is task:
            del self._tasks[entry.uid]
            self._asked.pop(entry.uid, None)
            metrics_scaling.forgotten(entry.key)

    async def _keep_looking(self, entry: Entry) -> None:
        """Look until the deployment goes or its replicas follow nobody any more."""
        while (scale := entry.memory.scale) is not None and not entry.leaving:
            try:
                if scale.asked:
                    await self._look(entry, scale)
                    if scale.asked:
                        soon = SOON_SECONDS if doubtful(scale.state) else math.inf
                        await asyncio.sleep(min(soon, self._pause()))
                else:
                    await self._wait(entry, scale)
            except Exception:
                log.exception("%s/%s: a bug; %d replicas stay", *entry.key, scale.asked)
                await asyncio.sleep(BUG_SECONDS)

    def _pause(self) -> float:
        """Return how long to wait for the next look: not all deployments are looked at in step."""
        return look_seconds(sum(self._asked.values())) * random.uniform(1.0, 1.1)  # noqa: S311 - spreads load

    async def _look(self, entry: Entry, scale: Scale) -> None:
        pods, began = self._seen(entry), time.monotonic()
        said = await self._routers.ask(pods, _most(scale))
        metrics_scaling.looked(time.monotonic() - began)
        self._decide(entry, scale, pods, said)

    def _seen(self, entry: Entry) -> list[Child]:
        pods = self._routers.pods(entry.key)
        self._asked[entry.uid] = len(pods)
        return pods

    async def _wait(self, entry: Entry, scale: Scale) -> None:
        """Have a question wait at each router while nothing is asked for; returns when the routers are others, too."""
        pods = self._seen(entry)
        said = await self._routers.ask(pods, _most(scale))
        self._decide(entry, scale, pods, said)
        waiting = [asyncio.create_task(self._hang(entry, scale, pod, said)) for pod in pods]
        try:
            while not scale.asked and entry.memory.scale is scale and not entry.leaving:
                if waiting:
                    done, _ = await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                else:
                    await asyncio.sleep(LOOK_SECONDS)
                if _places(self._seen(entry)) != _places(pods):
                    return
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _hang(self, entry: Entry, scale: Scale, pod: Child, said: dict[str, Document | None]) -> None:
        """Wait for what one router says, over and over, until it makes somebody ask for a replica."""
        while not scale.asked:
            began = time.monotonic()
            said[pod.uid] = await self._routers.hold(pod, _most(scale), self._pause())
            self._decide(entry, scale, self._seen(entry), said)
            if not scale.asked:  # one that answers at once although nobody waits is not asked more often for it
                await asyncio.sleep(max(0.0, self._pause() - (time.monotonic() - began)))

    def _decide(self, entry: Entry, scale: Scale, pods: list[Child], said: Mapping[str, Document | None]) -> None:
        """Take in what the routers say, decide, and have a pass made if that changes anything."""
        now, before = time.monotonic(), scale.asked
        if entry.memory.scale is not scale:
            return
        wall, clocks = time.time(), scale.clocks
        if clocks is not None and abs(wall - clocks[0] - (now - clocks[1])) > JUMP_SECONDS:
            scale.ledger = unsure(scale.ledger)
        scale.clocks = (wall, now)
        try:
            demand, seen = _take(scale, pods, said, now, self._routers)
            if (planned := scale.planned) is not None:
                self._follow(entry, scale, planned, Signals(
                    now,
                    autoscale.replicas(planned.observed, planned.revision, scale.asked),
                    demand,
                    seen,
                    scale.cold_start,
                    rolling=planned.rolling,
                ))  # fmt: skip
        except Exception as bug:  # noqa: BLE001 - told by _failed; whatever it is, the number stays and the looks go on
            _failed(entry, scale, bug)
            if not scale.asked and scale.planned is not None and any(each.held for each in said.values() if each):
                scale.asked, scale.decided = 1, _rescue(scale)
        if scale.asked != before or _newsworthy(entry, scale, now):
            entry.flag.set()

    def _follow(self, entry: Entry, scale: Scale, planned: Planned, signals: Signals) -> None:
        """Decide, and ask for what is decided."""
        interval = look_seconds(sum(self._asked.values()))
        settings = autoscale.settings(planned.spec, planned.performance, scale.cold_start, interval)
        decided, scale.state = decide(settings, scale.state, signals)
        # A step down waits until the last number is written: else steps would add up, and be taken all at once.
        written = (entry.status().get("autoscaling") or {}).get("replicas")
        number = decided.replicas if written in (None, scale.asked) else max(scale.asked, decided.replicas)
        scale.decided, scale.asked, scale.fault, scale.faults = decided, number, "", 0
        metrics_scaling.decided(entry.key, decided, len(scale.silent))


def _most(scale: Scale) -> int:
    """Return how many replicas a router can know of: as many as are asked for, or are still there."""
    return max(1, scale.asked, scale.groups)


def _places(pods: list[Child]) -> set[tuple[str, str]]:
    """Return who is where: a pod whose sandbox is made anew has another address."""
    return {(pod.uid, pod.address) for pod in pods}


def _take(
    scale: Scale, pods: list[Child], said: Mapping[str, Document | None], now: float, routers: Routers
) -> tuple[Demand | None, dict[str, EngineSignals]]:
    """Remember what the routers said, and return the demand and what they see of the engines that serve."""
    going = routers.going(pods)
    needed = {pod.uid for pod in pods if pod.ready} - going
    said = once(said, needed)
    scale.ledger, demand = take(scale.ledger, said, needed, now, going)
    said = {uid: None if uid in scale.ledger.doubted else document for uid, document in said.items()}
    known = scale.documents
    read = {
        uid: known.get(uid) if document is None or (uid in known and known[uid][0] is document) else (document, now)
        for uid, document in said.items()
    }
    scale.documents = {uid: each for uid, each in read.items() if each is not None}
    scale.silent = {
        pod.uid: scale.silent.get(pod.uid, Silent(pod.name, now, timestamp()))._replace(old=routers.old(pod))
        for pod in pods
        if pod.uid in needed and said.get(pod.uid) is None
    }
    if demand is not None:
        scale.blind_since = None
    elif scale.blind_since is None:
        scale.blind_since = now
    serving = scale.planned.serving if scale.planned else frozenset()
    looks = engines((document, now - at) for document, at in scale.documents.values())
    scale.saved = remember(scale.saved, looks, now)
    told = any(looks[name].signals.generated_tokens is not None for name in serving & looks.keys())
    if told or not serving or demand is None:
        scale.mute_since = None
    elif scale.mute_since is None:
        scale.mute_since = now
    return demand, {f"{name} {look.instance}": look.signals for name, look in looks.items() if name in serving}


def _failed(entry: Entry, scale: Scale, bug: Exception) -> None:
    """Keep the number; after many looks forget what was watched, for it may be the cause."""
    fault = f"{type(bug).__name__}: {bug}"
    if fault != scale.fault:
        log.error("%s/%s: a bug in the decision; %d replicas stay", *entry.key, scale.asked, exc_info=bug)
    scale.fault, scale.faults = fault, scale.faults + 1
    if scale.faults >= MOST_FAULTS:
        scale.state, scale.faults = autoscale.state(entry.status()), 0


def _rescue(scale: Scale) -> Decision:
    """Return that the first replica starts although nothing can be decided: nobody is to wait until a bug is mended."""
    reason = f"from 0 to 1 replica: a request waits in a router, and the decision failed: {scale.fault}"
    return Decision(1, reason, {}, "failed")


def _newsworthy(entry: Entry, scale: Scale, now: float) -> bool:
    """Whether a pass is worth it although the number stays; never for what the last one told, and not often."""
    standing = scale.standing(now)
    calm = NEWS_SECONDS if entry.memory.failed else TURN_SECONDS if any(standing) else BACK_SECONDS
    turned = scale.shown is not None and standing != scale.shown and now - scale.woken_at >= calm
    status = entry.status()
    moved = now - scale.woken_at >= NEWS_SECONDS and told(scale, status, scale.asked) != status.get("autoscaling")
    if turned or moved:
        scale.woken_at = now
    return turned or moved
