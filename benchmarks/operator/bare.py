"""The bare loop: the same server-side applies with the same client and nothing else, to hold the operator against."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta_operator.api.models import parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.controller.client import connect
from manta_operator.controller.handlers import REQUESTS_AT_ONCE
from manta_operator.planning.observe import Observed


@dataclass(frozen=True)
class Bare:
    """Rates of the bare loop; CPU is the client's, user and system."""

    objects_per_s: float
    deployments_per_s: float
    cpu_ms_per_object: float


def children(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """What the operator applies for this LLMDeployment, from the pure core."""
    desired = desire(parse(body), None, Observed())
    if not isinstance(desired, Desired):
        raise TypeError(f"the benchmark's own deployment cannot be planned: {desired}")
    return desired.objects


async def apply_all(kubeconfig: Path, scratch: Path, owners: list[dict[str, Any]]) -> Bare:
    """Apply the children of `owners`, as many at once as the operator has connections."""
    async with connect(scratch, kubeconfig) as client:
        await _rate(client, list(children(owners[0])), 1)  # discovery and the first connection are not the loop
        objects = [child for owner in owners[1:] for child in children(owner)]
        return await _rate(client, objects, len(owners) - 1)


async def _rate(client: Any, objects: list[dict[str, Any]], deployments: int) -> Bare:
    waiting = iter(objects)

    async def worker() -> None:
        for obj in waiting:
            await client.apply(obj)

    began, cpu = time.perf_counter(), sum(os.times()[:2])
    await asyncio.gather(*(worker() for _ in range(REQUESTS_AT_ONCE)))
    seconds = time.perf_counter() - began
    spent = sum(os.times()[:2]) - cpu
    return Bare(len(objects) / seconds, deployments / seconds, 1000 * spent / len(objects))
