"""Run the picker: pods watched, engines looked at, ends heard, questions answered, until a signal ends it."""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from manta_runtime.router import sockets
from manta_runtime.router.config import ConfigError, RouterConfig
from manta_runtime.router.membership import Members
from manta_runtime.router.picker import http, reloading
from manta_runtime.router.picker.completions import Completions
from manta_runtime.router.picker.engine_client import EngineClient
from manta_runtime.router.picker.peers import Peers
from manta_runtime.router.picker.picker import TICK_SECONDS, Picker
from manta_runtime.router.pod_watch import PodWatch

log = logging.getLogger(__name__)

Leave = Callable[[], Awaitable[None]]

# Envoy gets SIGTERM in the same moment and still asks while it drains: the picker must be the last to go.
_OUTLIVE_SECONDS = 10.0
_POLL_SECONDS = 0.5
_TOLD_SECONDS = 0.5  # for the launcher to say what Envoy knows; it is asked again
_MOST_ASKED_BYTES = 1 << 16  # at the port: nobody who asks there has a body
# Collections of the youngest come rarely, and never look at what was there at the start.
_COLLECT_AFTER = (50_000, 20, 50)


async def run(config: RouterConfig, pod_ip: str, run_dir: Path) -> None:
    """Run the picker until a signal ends it.

    ConfigError if there are no credentials, a port is taken or `run_dir` cannot be written.
    """
    picker = Picker(config, run_dir, _launcher(config, pod_ip))
    for refresh in picker.refreshers():
        refresh()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(picker.looks.close)
        stack.push_async_callback(picker.written.close)
        leaving: list[Leave] = []
        for serving in _servers(picker, pod_ip, run_dir, leaving):
            await stack.enter_async_context(serving)
        work = [asyncio.create_task(task) for task in _tasks(picker)]
        stack.push_async_callback(_cancel, work)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        work.append(asked := asyncio.create_task(_until(stop)))
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {asked}:
            task.result()
        picker.ending = True
        for leave in leaving or [partial(_outlive_envoy, config, pod_ip)]:
            await leave()


def _servers(
    picker: Picker, pod_ip: str, run_dir: Path, leaving: list[Leave]
) -> "Iterable[contextlib.AbstractAsyncContextManager[object]]":
    """What listens, in the order of starting. `leaving` gets what is to be awaited before all may end.

    The port comes first: where another picker has it, that one keeps its sockets, too.
    """
    config = picker.config
    yield _listening(http.serve(picker.answer, pod_ip, config.picker_port, _MOST_ASKED_BYTES), "pickerPort")
    if config.mode == "inference-pool":
        yield _naming(_gateways(picker, pod_ip, leaving), "extProcPort")
        return
    completions = Completions(picker.decider.ended, picker.envoy_lost)
    yield _listening(completions.serve(sockets.listen(run_dir, sockets.ENDS)), sockets.ENDS)
    if picker.cache is not None:
        from manta_runtime.router.cache.proxy import serve as serve_cache  # noqa: PLC0415 - as above

        limit, first_byte = config.max_body_bytes, float(config.timeouts.first_byte_seconds)
        listening = sockets.listen(run_dir, sockets.CACHE)
        yield _naming(serve_cache(picker.cache, listening, limit, picker.eject_address, first_byte), sockets.CACHE)
    # Last: what is asked here leads to ends, and to the cache.
    listening = sockets.listen(run_dir, sockets.PICK)
    yield _listening(http.serve_at(picker.pick, listening, config.max_body_bytes), sockets.PICK)


def _launcher(config: RouterConfig, pod_ip: str) -> EngineClient | None:
    """Who is asked what Envoy knows."""
    host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
    return EngineClient(f"{host}:{config.health_port}", _TOLD_SECONDS) if config.mode == "envoy" else None


def _tasks(picker: Picker) -> Iterable[Coroutine[Any, Any, None]]:
    """What goes on for ever."""
    config = picker.config
    yield picker.watch.run()
    yield _ticking(picker.tick)
    yield reloading.follow(picker.refreshers())
    if config.router_selector is not None:
        routers = Members(config.picker_port)

        def counted() -> None:
            picker.chooser.routers = max(1, len(routers.usable))

        yield PodWatch(routers, config.namespace, config.router_selector, counted).run()
        yield Peers(picker.limits, lambda: routers.all).run()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _ticking(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await asyncio.sleep(TICK_SECONDS)


async def _outlive_envoy(config: RouterConfig, pod_ip: str) -> None:
    log.info("ending: answering until Envoy has drained")
    deadline = time.monotonic() + config.hold.longest_seconds + config.drain_seconds + _OUTLIVE_SECONDS
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection(pod_ip, config.health_port)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _gateways(picker: Picker, pod_ip: str, leaving: list[Leave]) -> AsyncIterator[None]:
    from manta_runtime.router.epp.server import serve  # noqa: PLC0415 - grpc is large, and rarely needed

    async with serve(picker.config, pod_ip, picker.decider, picker.is_ready) as leave:
        leaving.append(leave)
        yield


@asynccontextmanager
async def _listening(starting: Awaitable[asyncio.Server], field: str) -> AsyncIterator[None]:
    try:
        server = await starting
    except OSError as error:
        raise ConfigError(f"cannot listen on {field}: {error}") from error
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def _naming(serving: contextlib.AbstractAsyncContextManager[object], field: str) -> AsyncIterator[None]:
    """Say what cannot be listened on."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serving)
        except OSError as error:
            raise ConfigError(f"cannot listen on {field}: {error}") from error
        yield


async def _cancel(tasks: Iterable[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
