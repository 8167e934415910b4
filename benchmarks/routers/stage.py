"""What every measurement stands on: backends, the list of their pods, and the requests that are sent to them."""

import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from routers.backend import MODEL
from routers.contenders import Place
from routers.manta_router import ROOT, pods_api
from routers.processes import Processes, claim_network


@asynccontextmanager
async def stage(folder: Path, count: int, pause: float = 0.0) -> AsyncIterator[Place]:
    """`count` backends in a process of their own, ready to be asked; their streams pause `pause` seconds a chunk."""
    network = claim_network()
    addresses = tuple(f"{network}.{10 + number}" for number in range(count))
    environment = {"PYTHONPATH": str(ROOT / "benchmarks"), "PYTHONUNBUFFERED": "1"}
    command = (sys.executable, "-m", "routers.backend", str(pause), *addresses)
    async with Processes(folder) as processes, pods_api(f"{network}.1", addresses) as api:
        await processes.start("backends", command, environment)
        await processes.answering(f"http://{addresses[-1]}:8000/health")
        yield Place(f"{network}.2", addresses, folder, api)


def prompts(seed: int, count: int = 20_000, *, stream: bool = False) -> list[bytes]:
    """Chat requests of about 1 kB: 32 conversations behind four system prompts, each with a new question.

    Prefixes are shared, whole prompts are not.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def words(size: int) -> str:
        return " ".join(f"w{number:04}" for number in chance.choices(range(10_000), k=size))

    systems, histories = [words(60) for _ in range(4)], [words(60) for _ in range(32)]
    found = []
    for number in range(count):
        messages = [
            {"role": "system", "content": systems[number % 4]},
            {"role": "user", "content": histories[number % 32]},
            {"role": "user", "content": words(30)},
        ]
        body = {"model": MODEL, "messages": messages, "max_tokens": 64, "temperature": 0.7, "stream": stream}
        found.append(json.dumps(body, separators=(",", ":")).encode())
    return found
