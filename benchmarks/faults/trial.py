"""One fault: wait until streams flow on the victim, break it, watch until all is well again, count what was lost."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil
from traffic.api import Object
from traffic.world import Stuck

from faults.catalogue import Fault
from faults.load import FATES, Load, Request
from faults.processes import alive, command_of, describe, find, freeze, of_pod, orphans
from faults.watching import Seen, Watch
from faults.world import World

FROZEN_SECONDS = 20.0
"""How long the Kubernetes API hangs."""
_FLOW_SECONDS = 120.0
_SERVED_SECONDS = 120.0
_QUIET_SECONDS = 3.0
_LATE_SECONDS = {False: 20.0, True: 45.0}
_MOST_NAMELESS = {False: 5, True: 20}
"""By whether it freezes: how long after a fault the router may still send to its victim (it takes some 5 s to see a
death, 23 s a frozen pod, with all cores busy), and how many requests it may give up meanwhile without an answer of any
replica: its tries and its budget for them are finite."""


@dataclass
class Result:
    """What a fault did; times in seconds since it, None for what did not happen."""

    fault: Fault
    victim: str = ""
    hit: str = ""
    began: float = 0.0
    seen: Seen = field(default_factory=Seen)
    served: float | None = None
    looked_away: float | None = None
    retried: int = 0
    left: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def attempt(world: World, load: Load, fault: Fault, seconds: float) -> Result:
    """Make one fault and wait, `seconds` at most, until everything is as before. What goes wrong is in its problems."""
    result = Result(fault)
    try:
        if fault.where == "outside":
            await _break_outside(world, load, result, seconds)
        else:
            await _break_replica(world, load, result, seconds)
    except (Stuck, aiohttp.ClientError, TimeoutError, psutil.Error) as error:
        result.problems.append(f"{type(error).__name__}: {error}")
    ended = time.monotonic()
    await load.settle(ended)
    result.requests = [each for each in load.requests if each.began < ended and each.ended > result.began > 0]
    judge(result)
    return result


async def _break_replica(world: World, load: Load, result: Result, seconds: float) -> None:
    fault = result.fault
    groups = await world.groups()
    # Kubelets wait longer with every crash of a pod: take turns.
    head = min(groups, key=lambda name: (_restarts(groups[name]), name))
    pods, result.victim = groups[head], head
    target = pods[0] if fault.where == "head" else pods[-1]
    before = [process for pod in pods for process in of_pod(world.box, pod["status"]["podIP"])]
    below = of_pod(world.box, target["status"]["podIP"])
    chosen = below if fault.what == "pod" else [find(below, fault.what)]
    launchers = [process for process in before if command_of(process) and _is_launcher(process)]
    watch = Watch(world, head, pods, launchers)
    await watch.begin()
    retries = await world.retries()
    await _until_it_flows(load, head)
    result.began = watch.began = time.monotonic()
    _hit(chosen, fault, result)
    result.seen = watch.seen
    if not await watch.until_ready(seconds):
        await _repair(world, pods, result, seconds)
        return
    since = result.began + (watch.seen.ready or 0)
    result.served = await _until_served(load, head, result, since)
    result.retried = await world.retries() - retries
    result.left = [describe(process) for process in [*alive(before), *orphans(world.box)]]


async def _break_outside(world: World, load: Load, result: Result, seconds: float) -> None:
    fault = result.fault
    pods = await world.pods("engine") + await world.pods("router")
    restarts, retries = _restarts(pods), await world.retries()
    victim = find(world.box.children(recursive=True), "operator") if fault.what == "operator" else world.box
    for head in await world.groups():
        await _until_it_flows(load, head)
    result.began = time.monotonic()
    _hit([victim], fault, result)
    if fault.freeze:
        await asyncio.sleep(FROZEN_SECONDS)
        victim.resume()
    else:
        await _until_operated(world, seconds)
    result.seen.ready = time.monotonic() - result.began
    await asyncio.sleep(2 * _QUIET_SECONDS)
    await world.until("all is well", world.is_well, seconds)
    result.retried = await world.retries() - retries
    if _restarts(await world.pods("engine") + await world.pods("router")) != restarts:
        result.problems.append("a pod was restarted that had nothing to do with it")


async def _until_operated(world: World, seconds: float) -> None:
    """Change the spec, and wait until the operator, another process than before, has taken note."""
    body = await world.api.find("LLMDeployment", world.name) or {}
    deadline = int(body["spec"]["rollout"].get("progressDeadlineSeconds") or 7200) + 1
    await world.api.patch("LLMDeployment", world.name, {"spec": {"rollout": {"progressDeadlineSeconds": deadline}}})

    async def noted() -> bool:
        now = await world.api.find("LLMDeployment", world.name) or {}
        return bool(now["metadata"]["generation"] == now["status"].get("observedGeneration"))

    await world.until("the operator takes note of a change", noted, seconds)


async def _repair(world: World, pods: list[Object], result: Result, seconds: float) -> None:
    """Give the faults to come two sound replicas: delete what did not come back."""
    result.problems.append(f"not ready again within {seconds:.0f} s")
    for pod in pods:
        await world.api.delete("Pod", pod["metadata"]["name"])
    await asyncio.sleep(_QUIET_SECONDS)
    await world.until("both replicas serve after a repair", world.is_well)


async def _until_it_flows(load: Load, head: str) -> None:
    deadline = time.monotonic() + _FLOW_SECONDS
    while not any(each.flows and each.replica == head for each in load.requests[-200:]):
        if time.monotonic() > deadline:
            raise Stuck(f"no stream flowed from {head} within {_FLOW_SECONDS:.0f} s")
        await asyncio.sleep(0.02)


async def _until_served(load: Load, head: str, result: Result, since: float) -> float | None:
    """Return when the first whole answer came of a request that was sent there after the fault."""
    deadline = time.monotonic() + _SERVED_SECONDS
    while time.monotonic() < deadline:
        ends = [
            each.ended
            for each in load.requests
            if each.replica == head and each.began > result.began and each.ended > since and each.fate == "ok"
        ]
        if ends:
            return min(ends) - result.began
        await asyncio.sleep(0.1)
    result.problems.append(f"ready again, but no request was served within {_SERVED_SECONDS:.0f} s")
    return None


def _hit(chosen: list[psutil.Process], fault: Fault, result: Result) -> None:
    result.hit = describe(chosen[0])
    if fault.freeze:
        freeze(chosen)
    else:
        for process in chosen:
            process.kill()


def _is_launcher(process: psutil.Process) -> bool:
    try:
        return find([process], "launcher") == process
    except Stuck:
        return False


def _restarts(pods: list[Object]) -> int:
    return sum(s.get("restartCount", 0) for pod in pods for s in pod["status"].get("containerStatuses") or ())


def judge(result: Result) -> None:
    """Note what must not be: a hang, a process left behind, a loss that nothing excuses, one on another replica."""
    lost = [each for each in result.requests if each.fate != "ok"]
    sent = [each.began - result.began for each in lost if each.began > result.began]
    result.looked_away = max(sent, default=0.0)
    if hung := sum(each.fate == "hung" for each in lost):
        result.problems.append(f"{hung} requests hung")
    if result.left:
        result.problems.append(f"left behind: {result.left[:3]}")
    if lost and result.fault.harmless:
        result.problems.append(f"{len(lost)} requests were lost, and none may be: {lost[0].detail}")
    elsewhere = [each for each in lost if each.replica not in ("", result.victim)]
    if elsewhere:
        result.problems.append(f"{len(elsewhere)} requests were lost on another replica: {elsewhere[0].detail}")
    result.problems += _outage(result, lost)


def _outage(result: Result, lost: Sequence[Request]) -> list[str]:
    """Return what tells that more than the victim failed: the other replica has to take what comes after the fault."""
    problems = []
    seconds, most = _LATE_SECONDS[result.fault.freeze], _MOST_NAMELESS[result.fault.freeze]
    late = [each for each in lost if each.began > result.began + seconds]
    if late:
        problems.append(f"{len(late)} requests were lost that were sent {seconds:.0f} s after it: {late[0].detail}")
    nameless = [each for each in lost if not each.replica and each.began > result.began]
    if len(nameless) > most:
        words = f"{len(nameless)} requests were lost that no replica answered, at most {most} may be"
        problems.append(f"{words}: {nameless[0].detail}")
    return problems


def counts(result: Result) -> dict[str, Any]:
    """Return how many requests ran at any moment of it, and what became of them."""
    fates = {fate: sum(each.fate == fate for each in result.requests) for fate in FATES}
    return {"sent": len(result.requests), "lost": sum(fates.values()), **fates, "retried": result.retried}
