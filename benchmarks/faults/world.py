"""A box (`manta up`) with one deployment of real engines, and short words for what is in it."""

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
from traffic.api import Api, Object
from traffic.world import CONFIG, Stuck, is_ready

from faults.catalogue import REPLICAS, ROOT, Shape, manifest
from manta_operator.box.kubelet import shim
from manta_operator.box.state import BoxState, read_state

START_SECONDS = 60.0
READY_SECONDS = 600.0
STOP_SECONDS = 150.0
_RETRIES = re.compile(r"^manta_router_retries_total (\S+)$", re.MULTILINE)
_PICKER_PORT = 9002


class World:
    """The box and the deployment in it; its name is its shape."""

    def __init__(self, api: Api, state: BoxState, folder: Path, *, simulated: bool) -> None:
        self.api = api
        self._simulated = simulated
        self.box = psutil.Process(state.pid)
        self.folder = folder
        self.name: Shape = "sharded"

    async def deploy(self, shape: Shape) -> None:
        """Create the deployment of a shape and wait until both replicas serve. Raises Stuck."""
        self.name = shape
        await self.api.create("LLMDeployment", manifest(shape, simulated=self._simulated))
        await self.until(f"{REPLICAS} replicas of {shape} serve", self.is_well)

    async def delete(self) -> None:
        """Delete the deployment and wait until its pods are gone. Raises Stuck."""
        await self.api.delete("LLMDeployment", self.name)

        async def gone() -> bool:
            return not await self.pods("engine") and not await self.pods("router")

        await self.until("the deployment's pods are gone", gone, STOP_SECONDS)

    async def is_well(self) -> bool:
        """Whether all replicas are ready, by the deployment's own account and by their pods'."""
        body = await self.api.find("LLMDeployment", self.name) or {}
        pods = await self.pods("engine") + await self.pods("router")
        ready = (body.get("status") or {}).get("readyReplicas")
        return ready == REPLICAS and bool(pods) and all(map(is_ready, pods))

    async def pods(self, component: str) -> list[Object]:
        """Return the pods of `engine` or `router`, sorted by name."""
        selector = f"manta.dev/deployment={self.name},app.kubernetes.io/component={component}"
        return sorted(await self.api.list("Pod", selector), key=lambda pod: str(pod["metadata"]["name"]))

    async def groups(self) -> dict[str, list[Object]]:
        """Return the pods of each replica, heads first, by the name of the head."""
        found: dict[str, list[Object]] = {}
        for pod in await self.pods("engine"):
            group = str(pod["metadata"]["name"]).rpartition("-")[0]
            found.setdefault(f"{group}-0", []).append(pod)
        return found

    async def router(self) -> str:
        """Return the IP address of the router's pod, so that nothing of the box lies on the way to it."""
        return str((await self.pods("router"))[0]["status"]["podIP"])

    async def retries(self) -> int:
        """Return how many further tries the router has made so far."""
        url = f"http://{await self.router()}:{_PICKER_PORT}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            found = _RETRIES.search(await response.text())
        return int(float(found[1])) if found else 0

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]], seconds: float = READY_SECONDS) -> None:
        """Wait for `condition`. Raises Stuck after `seconds`, or when the box has ended."""
        deadline = time.monotonic() + seconds
        while not await condition():
            if not self.box.is_running():
                raise Stuck(f"the box has ended; see {self.folder / 'up.log'}")
            if time.monotonic() > deadline:
                body = await self.api.find("LLMDeployment", self.name) or {}
                said = [f"{c['type']}={c['status']}: {c['message']}" for c in conditions(body)]
                raise Stuck(f"not within {seconds:.0f} s: {what}; the deployment says {said}")
            await asyncio.sleep(0.3)


def conditions(body: Object) -> Sequence[Object]:
    """Return the conditions of an object."""
    found: Sequence[Object] = (body.get("status") or {}).get("conditions") or ()
    return found


@asynccontextmanager
async def box(folder: Path, *, simulated: bool = False) -> AsyncIterator[World]:
    """Run an empty box in `folder` for the body, for simulated engines if asked. Raises Stuck when it fails."""
    state = folder / "box"
    # The shim kills the whole box when its standard input closes: when this program dies, however it dies.
    command = [sys.executable, "-I", "-S", str(shim.__file__), "--", sys.executable, "-m", "manta_operator.cli", "up"]
    command += [f"--state={state}", f"--map=/var/lib/manta/models={_models(folder) if simulated else ROOT / '.models'}"]
    with (folder / "up.log").open("w") as words:
        up = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=dict(os.environ), stdin=asyncio.subprocess.PIPE, stdout=words, stderr=words
        )
    try:
        found = await _started(up, state, folder)
        async with Api(found.kubeconfig) as api:
            yield World(api, found, folder, simulated=simulated)
    finally:
        await _stop(up)


def _models(folder: Path) -> Path:
    """Make what of a checkpoint is read without an engine."""
    model = folder / "models" / "tiny"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(CONFIG))
    return model.parent


async def _started(up: asyncio.subprocess.Process, state: Path, folder: Path) -> BoxState:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and up.returncode is None:
        found = read_state(state)
        # The operator's definitions are there when it runs.
        if found is not None and found.kubeconfig.is_file() and await _knows_us(found):
            return found
        await asyncio.sleep(0.2)
    raise Stuck(f"the box did not start:\n{(folder / 'up.log').read_text()[-2000:]}")


async def _knows_us(state: BoxState) -> bool:
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with Api(state.kubeconfig) as api:
            await api.list("LLMDeployment")
            return True
    return False


async def _stop(up: asyncio.subprocess.Process) -> None:
    if up.returncode is None:
        up.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await up.wait()
    except TimeoutError:
        up.kill()
        await up.wait()
