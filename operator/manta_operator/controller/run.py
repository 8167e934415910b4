"""The operator as a process: reach the API server, hold the lease, run kopf with Manta's handlers, give the lease back.

SIGTERM and SIGINT end it with 0: passes under way finish, then the lease is free and a standby acts within seconds.
A lost lease ends it with 1 there and then.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import kopf
import uvloop

from manta_operator.controller import metrics
from manta_operator.controller.handlers import register
from manta_operator.controller.leader import Elector, LeaseLost, Terms
from manta_operator.controller.leader_api import KubeLeases
from manta_operator.controller.probes import progress
from manta_operator.controller.probes_server import serving
from manta_operator.controller.run_startup import CannotStart, link, reach
from manta_operator.controller.settings import Settings
from manta_operator.controller.webhook import admission
from manta_operator.controller.webhook_facts import evidence

log = logging.getLogger(__name__)

FAILED = 1


def run(settings: Settings) -> int:
    """Run the operator in this process until SIGTERM or SIGINT; return its exit code.

    Raises:
        CannotStart: a person has to put something right first.
    """
    return uvloop.run(_run(settings))


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    _listen(stop)
    async with AsyncExitStack() as stack:
        if settings.health is not None:
            try:
                await stack.enter_async_context(serving(progress, *settings.health))
            except OSError as error:
                raise CannotStart(f"cannot serve the probes on {settings.health}: {error}") from error
        to = await stack.enter_async_context(link())
        if settings.webhook is not None:  # also while another replica leads
            known = await stack.enter_async_context(evidence(to, settings))
            await stack.enter_async_context(admission(settings.webhook, to, known, progress, stop))
        if not await _unless(stop, reach(to)):
            return 0
        if settings.lease is None:
            progress.waits = str
            metrics.leads(True)
            return await _operate(settings, stop)
        elector = Elector(KubeLeases(to.session, to.server, settings.lease), settings.lease)
        progress.waits = elector.trouble
        if not await _unless(stop, elector.acquire()):
            return 0
        return await _lead(settings, settings.lease, elector, stop)


async def _lead(settings: Settings, terms: Terms, elector: Elector, stop: asyncio.Event) -> int:
    """Act for as long as the lease is ours."""
    log.info("lease %s/%s is ours; this replica acts", terms.namespace, terms.name)
    metrics.leads(True)
    progress.holds_lease(elector.age, terms.duration)
    keeping = asyncio.create_task(elector.keep())
    operating = asyncio.create_task(_operate(settings, stop))
    await asyncio.wait({keeping, operating}, return_when=asyncio.FIRST_COMPLETED)
    if operating.done():
        keeping.cancel()
        await asyncio.wait({keeping})
        await elector.release()
        return operating.result()
    lost = keeping.exception()
    if not isinstance(lost, LeaseLost):
        log.error("the election failed, which is a bug", exc_info=lost)
    log.critical("lease %s/%s is lost: %s; ending at once", terms.namespace, terms.name, lost)
    # Another may act already, and a request of ours must not come after its first: nothing is finished, nothing tidied.
    os._exit(FAILED)


async def _operate(settings: Settings, stop: asyncio.Event) -> int:
    """Run kopf until told to stop; it raises what it cannot get over, such as a watch it may not open."""
    registry = kopf.OperatorRegistry()
    register(registry, settings)
    existing = asyncio.all_tasks()
    ours = kopf.OperatorSettings()
    # kopf would watch CRDs and namespaces of the whole cluster, and wait for ever for the permission.
    ours.scanning.disabled = bool(settings.namespaces)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=ours,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        standalone=True,
        priority=0,
        stop_flag=stop,
    )
    _listen(stop)  # again: kopf has taken the signals, and would not tell us why it ends
    await kopf.run_tasks(tasks, ignored=existing)
    if not stop.is_set():
        log.error("the operator ended although nobody told it to")
    return 0 if stop.is_set() else FAILED


def _listen(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work` unless `stop` comes first; return whether it was done."""
    task, halt = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({task, halt}, return_when=asyncio.FIRST_COMPLETED)
    done = task.done()
    for each in (task, halt):
        each.cancel()
    await asyncio.wait({task, halt})
    if done:
        task.result()
    return done
