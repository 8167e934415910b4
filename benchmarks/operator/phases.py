"""The phases of the benchmark, one function each: make, create, play, rest, change, delete.

Each watches the cluster from outside; only which request was sent when is read from the operator's own log.
"""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psutil
from chaos_api import Api
from chaos_operator import Operator, Request
from chaos_player import KINDS, Player, deployments_path, path_of

SPEC = {
    "model": {"uri": "file:///models/tiny"},
    "accelerator": {"type": "cpu"},
    "router": {"replicas": 2},
    "replicas": 1,
}
CREATORS = 8
QUIET_SECONDS = 5.0
SETTLE_TRIES = 24
STEP = 0.2
MEGABYTE = 1 << 20


def deployment(namespace: str, name: str) -> dict[str, Any]:
    """One LLMDeployment of the tiny model."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": SPEC}


async def make(api: Api, namespace: str, count: int) -> list[dict[str, Any]]:
    """Create `count` LLMDeployments, a few at a time; return them as stored."""
    wanted = iter([deployment(namespace, f"bench-{number:04}") for number in range(count)])
    made: list[dict[str, Any]] = []

    async def creator() -> None:
        made.extend([await api.call("POST", deployments_path(namespace), body) for body in wanted])

    await asyncio.gather(*(creator() for _ in range(CREATORS)))
    return made


@dataclass(frozen=True)
class Created:
    """From the first create to the last child written."""

    seconds: float
    deployments_per_s: float
    children_per_deployment: float
    requests_per_deployment: dict[str, float]
    cpu_ms_per_deployment: float


async def create(api: Api, namespace: str, count: int, operator: Operator, limit: float) -> Created:
    """Create them while the operator runs; wait until every child exists. AssertionError after `limit` seconds."""
    operator.requests()
    cpu, began = cpu_seconds(operator), time.monotonic()
    await make(api, namespace, count)
    expected = await _settled_first(api, namespace, count, began + limit)
    while not await _all_there(api, namespace, count, expected):
        assert time.monotonic() < began + limit, f"not every child was written in {limit:g} s"
        assert operator.running, operator.log[-2000:]
        await asyncio.sleep(STEP)
    requests = operator.requests()
    firsts = {each.path: each.ended for each in reversed(requests) if _is_child_write(each)}
    last = max(firsts.values())
    return Created(
        seconds=last - began,
        deployments_per_s=count / (last - began),
        children_per_deployment=sum(expected.values()),
        requests_per_deployment=_per(requests, count),
        cpu_ms_per_deployment=1000 * (cpu_seconds(operator) - cpu) / count,
    )


async def _settled_first(api: Api, namespace: str, count: int, deadline: float) -> Counter[str]:
    """Wait until some kinds are complete and return how many of each kind one deployment has."""
    while await api.count(path_of("deployments", namespace)) < count:
        assert time.monotonic() < deadline, "the operator does not write the children"
        await asyncio.sleep(STEP)
    owned: Counter[str] = Counter()
    for kind in KINDS:
        selector = "labelSelector=manta.dev/deployment%3Dbench-0000"
        owned[kind] = len(await api.items(f"{path_of(kind, namespace)}?{selector}"))
    return owned


async def _all_there(api: Api, namespace: str, count: int, expected: Counter[str]) -> bool:
    for kind, each in expected.items():
        if await api.count(path_of(kind, namespace)) < each * count:
            return False
    return True


def _is_child_write(request: Request) -> bool:
    return request.writes and 200 <= request.code < 300 and "/llmdeployments" not in request.path


def _per(requests: list[Request], count: int) -> dict[str, float]:
    kinds = Counter(f"{each.method} {each.path.split('/namespaces/')[-1].split('/')[1:2] or '-'}" for each in requests)
    return {kind: round(number / count, 2) for kind, number in sorted(kinds.items())}


async def play(api: Api, namespace: str, count: int, player: Player, limit: float) -> dict[str, float]:
    """Make all pods ready; how fast they were played, how fast Ready, and how long Ready was behind at the end."""
    began = time.monotonic()
    player.start()
    ready: set[str] = set()
    async with asyncio.timeout(limit):
        async for event in api.watch(deployments_path(namespace)):
            conditions = (event["object"].get("status") or {}).get("conditions") or ()
            if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
                ready.add(event["object"]["metadata"]["name"])
            if len(ready) == count:
                break
    done = time.monotonic()
    return {
        "played_per_s": player.played / (player.played_at - began),
        "ready_per_s": count / (done - began),
        "ready_behind_s": done - player.played_at,
    }


async def rest(operator: Operator, seconds: float) -> dict[str, Any]:
    """Wait until the operator writes nothing, then for `seconds` more; what it wrote meanwhile, and its memory."""
    for _ in range(SETTLE_TRIES):
        operator.requests()
        await asyncio.sleep(QUIET_SECONDS)
        if not any(each.writes for each in operator.requests()):
            break
    cpu = cpu_seconds(operator)
    await asyncio.sleep(seconds)
    requests = operator.requests()
    writes = [each for each in requests if each.writes]
    return {
        "quiet_seconds": seconds,
        "quiet_writes": len(writes),
        "quiet_reads": len(requests) - len(writes),
        "quiet_cpu_percent": 100 * (cpu_seconds(operator) - cpu) / seconds,
        "rss_mb": rss(operator) / MEGABYTE,
    }


async def change(api: Api, namespace: str, count: int, changes: int, pause: float) -> list[float]:
    """Change one spec after another; seconds from sending each change to seeing its child changed on a watch."""
    seen: dict[tuple[str, str], asyncio.Future[float]] = {}
    followers = [asyncio.create_task(_follow(api, namespace, kind, seen)) for kind in ("services", "statefulsets")]
    await asyncio.sleep(2)
    took = []
    for number in range(changes):
        # The same prime step through all of them, so that a deployment is not changed twice in a row.
        name = f"bench-{(number * 7919) % count:04}"
        kind, spec = _CHANGES[number % 2](number)
        arrived = seen[kind, name] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        await api.merge(deployments_path(namespace, name), {"spec": spec})
        try:
            took.append(await asyncio.wait_for(arrived, 60) - began)
        except TimeoutError as late:
            raise AssertionError(f"{name}: {spec} did not reach its {kind} in 60 s") from late
        await asyncio.sleep(pause)
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    return took


_ports = itertools.count(9000)
_CHANGES = (
    lambda _number: ("services", {"router": {"port": next(_ports)}}),
    lambda number: ("statefulsets", {"replicas": 2 + number % 3}),
)


async def _follow(api: Api, namespace: str, kind: str, seen: dict[tuple[str, str], asyncio.Future[float]]) -> None:
    known: dict[str, int] = {}
    async for event in api.watch(path_of(kind, namespace)):
        metadata = event["object"]["metadata"]
        # Status writes of those who play do not count: only a new object or a new spec is a changed child.
        spec = repr(event["object"]["spec"])
        if event["type"] == "DELETED" or known.get(metadata["uid"]) == hash(spec):
            continue
        known[metadata["uid"]] = hash(spec)
        arrived = seen.get((kind, (metadata.get("labels") or {}).get("manta.dev/deployment", "")))
        if arrived is not None and not arrived.done():
            arrived.set_result(time.monotonic())


async def delete(api: Api, namespace: str, limit: float) -> float:
    """Delete all LLMDeployments; seconds until the last is gone."""
    began = time.monotonic()
    await api.call("DELETE", deployments_path(namespace))
    while await api.count(deployments_path(namespace)):
        assert time.monotonic() < began + limit, f"not all LLMDeployments were gone after {limit:g} s"
        await asyncio.sleep(STEP)
    return time.monotonic() - began


def processes(operator: Operator) -> list[psutil.Process]:
    """The operator's processes, without the shim over them."""
    return psutil.Process(operator.pid).children(recursive=True)


def cpu_seconds(operator: Operator) -> float:
    """CPU the operator has used, user and system."""
    return sum(sum(process.cpu_times()[:2]) for process in processes(operator))


def rss(operator: Operator) -> int:
    """Resident bytes of the operator."""
    return sum(process.memory_info().rss for process in processes(operator))
