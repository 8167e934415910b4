"""What else is done to a deployment while it scales: its routers are replaced, its replicas rolled out. Effects."""

import time

from traffic.scaling.run import Scene
from traffic.world import NAME, is_ready

GROWS_SECONDS = 120.0
DONE_SECONDS = 240.0


async def routers(scene: Scene) -> None:
    """Replace both routers when it has grown, as `kubectl rollout restart` does: their counters begin anew."""
    await grown(scene)
    before = {pod["metadata"]["uid"] for pod in await scene.world.pods("router")}
    stamp = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": str(time.time())}}}
    await scene.world.api.patch("Deployment", f"{NAME}-router", {"spec": {"template": stamp}})

    async def replaced() -> bool:
        pods = await scene.world.pods("router")
        return all(map(is_ready, pods)) and not before & {pod["metadata"]["uid"] for pod in pods}

    await scene.world.until("the routers are others", replaced, DONE_SECONDS)


async def rollout(scene: Scene) -> None:
    """Change an argument of the engine when it has grown: every replica is replaced while the load goes on."""
    await grown(scene)
    before = {pod["metadata"]["uid"] for pod in await scene.world.pods("engine")}
    body = await scene.world.api.find("LLMDeployment", NAME) or {}
    await scene.world.change(engine={"maxNumSeqs": body["spec"]["engine"]["maxNumSeqs"] + 1})

    async def replaced() -> bool:
        return not before & {pod["metadata"]["uid"] for pod in await scene.world.pods("engine")}

    await scene.world.until("every replica is another one", replaced, DONE_SECONDS)


async def grown(scene: Scene) -> None:
    """Wait until it has grown, and all that is asked for serves."""
    await scene.until("it has grown", lambda now: now.ready == now.groups > 1, GROWS_SECONDS)
