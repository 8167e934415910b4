"""Takes snapshots of a cluster while somebody waits, and hands out what changed. The effects behind `story.py`."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from manta_operator.api import names
from manta_operator.cli.story import DeploymentView, PodView, Snapshot, snapshot, tell
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import ClusterError

PERIOD_SECONDS = 1.0
SILENCE_SECONDS = 15.0
LAST_WORDS = 120


@dataclass(frozen=True)
class Line:
    """One sentence and when it was seen, in seconds since the watch began."""

    seconds: float
    deployment: str
    text: str


async def take(client: KubeClient) -> Snapshot:
    """Read every LLMDeployment and its pods. Raises ClusterError."""
    deployments = await client.list(names.API_VERSION, names.KIND)
    pods = await client.list("v1", "Pod", selector=f"{names.LABEL_MANAGED_BY}=manta")
    return snapshot(deployments, pods)


async def follow(client: KubeClient, started: float) -> AsyncIterator[tuple[Snapshot, list[Line]]]:
    """Yield a snapshot and its news every second, with a reminder of what is awaited when nothing happens for long.

    Args:
        client: Reads the cluster; a failed read is tried again.
        started: time.monotonic() from which the lines count.
    """
    before, spoken = Snapshot(), time.monotonic()
    while True:
        try:
            after = await take(client)
        except ClusterError:
            await asyncio.sleep(PERIOD_SECONDS)
            continue
        now = time.monotonic()
        lines = [Line(now - started, deployment, text) for deployment, text in tell(before, after)]
        if lines:
            spoken = now
        elif not after.all_ready and now - spoken > SILENCE_SECONDS:
            spoken = now
            lines = [Line(now - started, view.name, f"waiting: {view.message}") for view in _waiting(after)]
            lines += [Line(now - started, pod.deployment, await _last_words(client, pod)) for pod in _starting(after)]
        yield after, lines
        before = after
        await asyncio.sleep(PERIOD_SECONDS)


async def _last_words(client: KubeClient, pod: PodView) -> str:
    """Return the last line of a pod's log: what it is busy with."""
    try:
        words = [line async for line in client.logs(pod.namespace, pod.name, pod.container, tail=1, follow=False)]
    except ClusterError as error:
        words = [error.message]
    return f"pod {pod.name} says: {words[0][:LAST_WORDS].strip()}" if words else f"pod {pod.name} says nothing yet"


def _starting(after: Snapshot) -> list[PodView]:
    return [pod for pod in after.pods.values() if pod.state == "Running"]


def _waiting(after: Snapshot) -> list[DeploymentView]:
    return [view for view in after.deployments.values() if not view.is_ready]
