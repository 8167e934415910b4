"""Random specs to a server with the operator running: it lives, and what is refused shows up in a condition."""

import asyncio
import random
from typing import Any

from chaos_api import Object, Refused
from chaos_player import KINDS, deployments_path, path_of
from chaos_scene import Scene
from chaos_specs import specs
from hypothesis import HealthCheck, Phase, given, settings

AT_ONCE = 8
BAD = {"Reconciled", "Planned"}
JUDGED_SECONDS = 60


def drawn(count: int, seed: int) -> list[Any]:
    """Distinct specs of the strategy, always the same for a seed; few replicas, for a server pays for each."""
    found: list[Any] = []

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )  # fmt: skip
    @given(specs())
    def collect(spec: Any) -> None:
        if isinstance(spec, dict) and isinstance(spec.get("replicas"), int) and spec["replicas"] > 2:
            spec = spec | {"replicas": 2}
        found.append(spec)

    collect()
    random.Random(seed).shuffle(found)
    return found


async def live(stage: Scene, wanted: list[Any]) -> dict[str, int]:
    """Create one LLMDeployment of each spec; hold the verdict on each admitted one against its children; count."""
    admitted, refused = [], 0
    for number, spec in enumerate(wanted):
        body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": f"h{number}"}}
        try:
            await stage.api.call("POST", deployments_path(stage.namespace), body | {"spec": spec})
        except Refused as answer:
            if answer.code not in (400, 422):
                raise
            refused += 1
        else:
            admitted.append(f"h{number}")
    places, unhappy = asyncio.Semaphore(AT_ONCE), 0

    async def judged(name: str) -> bool:
        async with places:
            return await _judged(stage, name)

    for happy in await asyncio.gather(*(judged(name) for name in admitted)):
        unhappy += not happy
    assert stage.operator.running
    assert "a bug" not in stage.operator.log, stage.operator.log[-3000:]
    assert "Traceback" not in stage.operator.log, stage.operator.log[-3000:]
    return {"refused by the server": refused, "admitted": len(admitted), "told what is wrong": unhappy}


async def _judged(stage: Scene, name: str) -> bool:
    """Wait for the verdict of the present generation; True if all children exist, else a condition must say why not."""

    async def verdict() -> Object:
        body = await stage.body(name)
        status = body.get("status") or {}
        found = {each["type"]: each for each in status.get("conditions") or ()}
        return found if status.get("observedGeneration") == body["metadata"]["generation"] else {}

    said = await stage.until(f"{name} is judged", verdict, JUDGED_SECONDS)
    wrong = [each for each in said.values() if each["type"] in BAD and each["status"] == "False"]
    missing = await _missing(stage, name)
    assert wrong or not missing, f"{name} lacks {missing}, and only says {said}: {(await stage.body(name))['spec']}"
    assert all(each["message"] for each in wrong), wrong
    return not wrong


async def _missing(stage: Scene, name: str) -> list[str]:
    selector = f"labelSelector=manta.dev/deployment%3D{name}"
    replicas = (await stage.body(name))["spec"]["replicas"]
    least = dict.fromkeys(KINDS, 1) | {"secrets": 0, "services": 2, "statefulsets": min(1, replicas)}
    return [
        kind
        for kind, number in least.items()
        if len(await stage.api.items(f"{path_of(kind, stage.namespace)}?{selector}")) < number
    ]
