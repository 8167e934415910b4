"""Ask each engine once a second how many requests it has: the truth that corrects the ledger.

Requests that came through another router show here only.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import aiohttp

from manta_runtime.router.membership import Endpoint, Members

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=2)
_GAUGES = (b"vllm:num_requests_running{", b"vllm:num_requests_waiting{")

Observe = Callable[[str, int, float], None]


def requests_in(text: bytes) -> int | None:
    """Running plus waiting requests in an engine's metrics (all its engine cores); None if they are not there."""
    total, found = 0.0, False
    for line in text.splitlines():
        if line.startswith(_GAUGES):
            total += float(line.rpartition(b" ")[2])
            found = True
    return round(total) if found else None


async def run(members: Members, observe: Observe) -> None:
    """Scrape the usable replicas for ever; `observe(replica, requests, asked_at)`. One that fails is left as it is."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        while True:
            await asyncio.gather(*(_one(session, endpoint, observe) for endpoint in members.usable))
            await asyncio.sleep(_PERIOD_SECONDS)


async def _one(session: aiohttp.ClientSession, endpoint: Endpoint, observe: Observe) -> None:
    asked_at = time.monotonic()
    try:
        async with session.get(f"http://{endpoint.address}/metrics") as response:
            requests = requests_in(await response.read())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        log.debug("no metrics from %s: %s", endpoint.name, error)
        return
    if requests is not None:
        observe(endpoint.name, requests, asked_at)
