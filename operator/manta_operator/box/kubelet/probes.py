"""Startup, readiness and liveness probes of one running container.

`container.py` runs `watch_probes` beside the process, for as long as that lives.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from manta_operator.box.kubelet.handlers import Target, check_handler, perform

Kind = Literal["startup", "readiness", "liveness"]


@dataclass(frozen=True)
class Probe:
    """One probe, with Kubernetes' defaults. Times in seconds of the pod's spec."""

    kind: Kind
    handler: Mapping[str, Any]
    initial_delay: float
    period: float
    timeout: float
    successes: int
    failures: int
    grace: float | None
    """Overrides the pod's grace period when this probe kills the container."""


def parse_probe(container: Mapping[str, Any], kind: Kind) -> Probe | None:
    """The container's probe of that kind, None if it has none. StartError if the box cannot do it."""
    spec = container.get(f"{kind}Probe")
    if not spec:
        return None
    check_handler(f"{kind}Probe of container {container['name']!r}", spec)
    return Probe(
        kind=kind,
        handler=spec,
        initial_delay=spec.get("initialDelaySeconds") or 0,
        period=spec.get("periodSeconds") or 10,
        timeout=spec.get("timeoutSeconds") or 1,
        successes=spec.get("successThreshold") or 1,
        failures=spec.get("failureThreshold") or 3,
        grace=spec.get("terminationGracePeriodSeconds"),
    )


@dataclass(frozen=True)
class ProbeCallbacks:
    """What the probes tell the container."""

    started: Callable[[], None]
    ready: Callable[[bool], None]
    unhealthy: Callable[[Probe, str], None]
    """One attempt failed; the message says how."""
    fatal: Callable[[Probe], None]
    """The failure threshold of a startup or liveness probe is reached: the container must be killed."""


async def watch_probes(probes: Mapping[Kind, Probe | None], target: Target, tell: ProbeCallbacks) -> None:
    """Probe until cancelled, or until a probe was fatal: startup first, the others once it has succeeded."""
    startup, readiness, liveness = (probes.get(kind) for kind in ("startup", "readiness", "liveness"))
    if startup and not await _until_started(startup, target, tell):
        return
    tell.started()
    if readiness is None:
        tell.ready(True)
    async with asyncio.TaskGroup() as group:
        if readiness:
            group.create_task(_watch_readiness(readiness, target, tell))
        if liveness:
            group.create_task(_watch_liveness(liveness, target, tell))


async def _attempt(probe: Probe, target: Target, tell: ProbeCallbacks) -> bool:
    failure = await perform(probe.handler, target, probe.timeout * target.second)
    if failure:
        tell.unhealthy(probe, failure)
    return not failure


async def _until_started(probe: Probe, target: Target, tell: ProbeCallbacks) -> bool:
    await asyncio.sleep(probe.initial_delay * target.second)
    failures = 0
    while not await _attempt(probe, target, tell):
        failures += 1
        if failures >= probe.failures:
            tell.fatal(probe)
            return False
        await asyncio.sleep(probe.period * target.second)
    return True


async def _watch_readiness(probe: Probe, target: Target, tell: ProbeCallbacks) -> None:
    await asyncio.sleep(probe.initial_delay * target.second)
    ready, run = False, 0
    while True:
        good = await _attempt(probe, target, tell)
        # `run` counts attempts in a row that contradict what we believe.
        run = run + 1 if good != ready else 0
        if run >= (probe.successes if good else probe.failures):
            ready, run = good, 0
            tell.ready(ready)
        await asyncio.sleep(probe.period * target.second)


async def _watch_liveness(probe: Probe, target: Target, tell: ProbeCallbacks) -> None:
    await asyncio.sleep(probe.initial_delay * target.second)
    failures = 0
    while True:
        failures = 0 if await _attempt(probe, target, tell) else failures + 1
        if failures >= probe.failures:
            tell.fatal(probe)
            return
        await asyncio.sleep(probe.period * target.second)
