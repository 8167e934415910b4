"""What is done to the deployment while requests run. Each function starts one change and returns when it is over."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from traffic.api import Object
from traffic.world import NAME, World


@dataclass(frozen=True)
class Change:
    """A change; `excuse` says why it cannot but lose requests, "" where none may be lost."""

    name: str
    make: Callable[[World], Awaitable[None]]
    excuse: str = ""


async def scale_up(world: World) -> None:
    """Two replicas become three."""
    await world.change(replicas=3)
    await world.settled(3)


async def scale_down(world: World) -> None:
    """Three replicas become two; the third drains."""
    await world.change(replicas=2)
    await world.settled(2)


async def rollout(world: World) -> None:
    """A changed argument of the engine: every replica is replaced."""
    before = await names_of(world, "engine")
    await world.change(engine={"maxNumSeqs": 48})
    await world.settled(2, gone=before)


async def rollback(world: World) -> None:
    """The old argument again."""
    before = await names_of(world, "engine")
    await world.change(engine={"maxNumSeqs": 64})
    await world.settled(2, gone=before)


async def restart_router(world: World) -> None:
    """`kubectl rollout restart` of the router: both pods are replaced."""
    before = await names_of(world, "router")
    stamp = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": str(time.time())}}}
    await world.api.patch("Deployment", f"{NAME}-router", {"spec": {"template": stamp}})
    await world.settled(2, gone=before)


async def delete_router_pod(world: World) -> None:
    """One of the two router pods is evicted."""
    name = (await names_of(world, "router"))[0]
    await world.api.delete("Pod", name)
    await world.settled(2, gone=(name,))


async def kill_operator(world: World) -> None:
    """Kill -9 of the operator in the middle of a scale up; it starts again, finishes that, and scales down."""
    operator = world.process("-m manta_operator.cli operator ")
    await world.change(replicas=3)
    operator.kill()
    await world.settled(3)
    await world.change(replicas=2)
    await world.settled(2)


async def delete_engine_pod(world: World) -> None:
    """An engine pod is evicted; its StatefulSet makes it again, under the same name."""
    victim = (await world.pods("engine"))[0]
    await world.api.delete("Pod", victim["metadata"]["name"])
    await _replaced(world, victim)
    await world.settled(2)


async def kill_engine(world: World) -> None:
    """Kill -9 of an engine's process; the kubelet starts the container again."""
    victim = (await world.pods("engine"))[0]
    restarts = _restarts(victim)
    world.process("manta_runtime.main simulate ", f"--host={victim['status']['podIP']} ").kill()

    async def restarted() -> bool:
        return any(
            pod["metadata"]["uid"] == victim["metadata"]["uid"] and _restarts(pod) > restarts
            for pod in await world.pods("engine")
        )

    await world.until("the engine has been started again", restarted)
    await world.settled(2)


async def recreate(world: World) -> None:
    """The LLMDeployment is deleted, and created again when it is gone."""
    body = await world.api.find("LLMDeployment", NAME) or {}

    async def gone() -> bool:
        left = await world.pods("engine") + await world.pods("router")
        return not left and await world.api.find("LLMDeployment", NAME) is None

    await world.api.delete("LLMDeployment", NAME)
    await world.until("the deployment and its pods are gone", gone)
    fresh = {key: body[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": NAME}}
    await world.api.create("LLMDeployment", fresh)
    await world.settled(2)


async def names_of(world: World, component: str) -> tuple[str, ...]:
    """Return the names of the pods there are."""
    return tuple(pod["metadata"]["name"] for pod in await world.pods(component))


async def _replaced(world: World, victim: Object) -> None:
    async def condition() -> bool:
        return all(pod["metadata"]["uid"] != victim["metadata"]["uid"] for pod in await world.pods("engine"))

    await world.until(f"{victim['metadata']['name']} has been replaced", condition)


def _restarts(pod: Object) -> int:
    return sum(status.get("restartCount", 0) for status in (pod.get("status") or {}).get("containerStatuses") or ())


CHANGES = (
    Change("scale up", scale_up),
    Change("scale down", scale_down),
    Change("rollout", rollout),
    Change("rollback", rollback),
    Change("router restart", restart_router),
    Change("router pod deleted", delete_router_pod),
    Change("operator kill -9", kill_operator),
    Change("engine pod deleted", delete_engine_pod),
    Change(
        "engine kill -9",
        kill_engine,
        "what was in flight on the killed process is gone with it, and a few requests are sent there before the router "
        "knows",
    ),
    Change("delete and recreate", recreate, "between deletion and readiness there is no Service, so nobody to answer"),
)
