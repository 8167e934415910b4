"""A box (`manta up`) with one LLMDeployment whose engines are simulated, and short words for what is in it."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import yaml

from manta_operator.box.kubelet import shim
from manta_operator.box.state import read_state
from traffic.api import Api, Object

NAME = "busy"
ROOT = Path(__file__).parents[2]
READY_SECONDS = 120.0
STOP_SECONDS = 90.0
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "max_position_embeddings": 8192,
}
"""All that is read of a simulated model."""


class Stuck(Exception):
    """Something did not happen in time; the message says what, and what the deployment says of itself."""


class World:
    """The deployment `NAME` in a running box."""

    def __init__(self, folder: Path, api: Api, up: asyncio.subprocess.Process) -> None:
        self.api = api
        self._folder = folder
        self._up = up

    @property
    def journal(self) -> Path:
        """One line for every request an engine has begun to compute."""
        return self._folder / "journal"

    async def url(self) -> str:
        """Address of the deployment's Service."""
        service = await self.api.find("Service", NAME)
        if service is None:
            raise Stuck("the deployment has no Service")
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    async def change(self, **spec: object) -> None:
        """Merge-patch the deployment's spec."""
        await self.api.patch("LLMDeployment", NAME, {"spec": spec})

    async def pods(self, component: str) -> list[Object]:
        """Return the pods of `engine` or `router`, sorted by name."""
        selector = f"manta.dev/deployment={NAME},app.kubernetes.io/component={component}"
        return sorted(await self.api.list("Pod", selector), key=lambda pod: str(pod["metadata"]["name"]))

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]], seconds: float = READY_SECONDS) -> None:
        """Wait for `condition`. Raises Stuck after `seconds`, or when the box has ended."""
        deadline = time.monotonic() + seconds
        while not await condition():
            if self._up.returncode is not None:
                raise Stuck(f"the box has ended; see {self._folder / 'up.log'}")
            if time.monotonic() > deadline:
                body = await self.api.find("LLMDeployment", NAME) or {}
                said = [
                    f"{c['type']}={c['status']} {c['message']}" for c in body.get("status", {}).get("conditions", ())
                ]
                raise Stuck(f"not within {seconds:.0f} s: {what}; the deployment says {said}")
            await asyncio.sleep(0.2)

    async def settled(self, replicas: int, *, gone: tuple[str, ...] = ()) -> None:
        """Wait until exactly `replicas` engines serve, both routers too, nothing ends any more, and `gone` are gone."""

        async def condition() -> bool:
            body = await self.api.find("LLMDeployment", NAME) or {}
            engines, routers = await self.pods("engine"), await self.pods("router")
            names = {pod["metadata"]["name"] for pod in engines + routers}
            status = body.get("status") or {}
            seen = status.get("observedGeneration") == (body.get("metadata") or {}).get("generation")
            serving = all(map(is_ready, engines + routers)) and len(engines) == replicas and len(routers) == 2
            return seen and serving and not names & set(gone) and status.get("readyReplicas") == replicas

        await self.until(f"{replicas} replicas and 2 routers serve, {gone or 'nothing'} is gone", condition)

    def process(self, *words: str) -> psutil.Process:
        """Return the process of this box whose command line has all the words, not its shim. Raises Stuck if none."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                command = " ".join(process.cmdline())
                ours = "shim.py" not in command and str(self._folder) in str(process.environ())
                if ours and all(word in command for word in words):
                    return process
        raise Stuck(f"no process runs {' '.join(words)}")


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready and stays."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def manifest(folder: Path, replicas: int, changes: Object | None = None) -> Object:
    """Return the LLMDeployment: small, on CPU, the simulator in vLLM's place; `changes`: to its spec, by field."""
    body: Object = {
        "apiVersion": "manta.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": NAME},
        "spec": {
            "model": {"uri": "file:///models/simulated"},
            "accelerator": {"type": "cpu"},
            "replicas": replicas,
            "engine": {
                "maxModelLen": 4096,
                "maxNumSeqs": 64,
                "resources": {"cpu": "50m", "memory": "64Mi"},
                "env": [{"name": "MANTA_ENGINE", "value": "simulate"}],
                "args": ["--simulate-startup-seconds=1", f"--simulate-journal={folder / 'journal'}"],
            },
            "router": {"replicas": 2},
            "rollout": {"drainSeconds": 30},
        },
    }
    for field, change in (changes or {}).items():
        before = body["spec"].get(field)
        body["spec"][field] = before | change if isinstance(before, dict) else change
    return body


@asynccontextmanager
async def box(folder: Path, replicas: int = 2, changes: Object | None = None) -> AsyncIterator[World]:
    """Run a box with the deployment in `folder` (new, or empty) for the body. Raises Stuck.

    `changes`: to the spec of the deployment, see manifest.
    """
    model = folder / "models" / "simulated"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(CONFIG))
    (folder / "busy.yaml").write_text(yaml.safe_dump(manifest(folder, replicas, changes), sort_keys=False))
    state = folder / "box"
    # The shim kills the whole box when its standard input closes: when this program dies, however it dies.
    command = [sys.executable, "-I", "-S", str(shim.__file__), "--", sys.executable, "-m", "manta_operator.cli", "up"]
    command += [f"--state={state}", f"--map=/models={folder / 'models'}", f"--file={folder / 'busy.yaml'}"]
    with (folder / "up.log").open("w") as words:
        up = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=dict(os.environ), stdin=asyncio.subprocess.PIPE, stdout=words, stderr=words
        )
    try:
        kubeconfig = await _started(up, state, folder)
        async with Api(kubeconfig) as api:
            world = World(folder, api, up)
            await world.settled(replicas)
            yield world
    finally:
        await _stop(up)


async def _started(up: asyncio.subprocess.Process, state: Path, folder: Path) -> Path:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and up.returncode is None:
        found = read_state(state)
        if found is not None and found.kubeconfig.is_file():
            return found.kubeconfig
        await asyncio.sleep(0.1)
    raise Stuck(f"the box did not start:\n{(folder / 'up.log').read_text()[-2000:]}")


async def _stop(up: asyncio.subprocess.Process) -> None:
    if up.returncode is None:
        up.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await up.wait()
    except TimeoutError:
        up.kill()
        await up.wait()
