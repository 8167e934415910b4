"""The pods of one group without a cluster: launchers under shims, each started after a delay of its own. Effects.

A `Pod` is to its launcher what a kubelet is: it starts it again when it ends, and nothing outlives it. As with a
headless Service, the name of the head resolves only once its pod has an address, that is, has started.
"""

import asyncio
import contextlib
import os
import random
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

import manta_operator.box
from faults.processes import below, find
from manta_operator.box.kubelet import shim

PORT, CONTROL_PORT = 8000, 8001
_PAUSE_SECONDS = 1.0
"""Between the end of a launcher and its next start, as the box's kubelet begins."""
_STOP_SECONDS = 30.0
_PYSITE = Path(manta_operator.box.__file__).with_name("pysite")


@dataclass(frozen=True)
class Recipe:
    """What the launchers of a group are told: vLLM's flags, more environment, and the deadline of a start."""

    vllm_flags: tuple[str, ...]
    environ: dict[str, str]
    startup_seconds: int = 300


class Group:
    """Two or more pods that are to become one engine; `folder` must have a short path, for Ray's sockets."""

    def __init__(self, folder: Path, recipe: Recipe, size: int = 2) -> None:
        folder.mkdir(parents=True)
        self.folder, self.recipe, self.size = folder, recipe, size
        self.token = secrets.token_hex(16)
        self.hosts = folder / "hosts"
        self.hosts.touch()
        self.pods = [Pod(self, rank, address) for rank, address in enumerate(free_addresses(size))]

    @property
    def head_name(self) -> str:
        """The DNS name of pod 0."""
        return "group-0-0.group.default.svc"

    async def stop(self) -> None:
        """End all pods at once, with grace."""
        await asyncio.gather(*(pod.stop() for pod in self.pods))


class Pod:
    """One pod; `starts` counts its launchers, `started` is when the first began (monotonic seconds)."""

    def __init__(self, group: Group, rank: int, address: str) -> None:
        self._group, self.rank, self.address = group, rank, address
        self._folder = group.folder / str(rank)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.starts = 0
        self.started = 0.0
        self.log = group.folder / f"{rank}.log"

    def start(self, delay: float) -> None:
        """Start it after `delay` seconds."""
        self._task = asyncio.create_task(self._run(delay))

    def kill_launcher(self) -> None:
        """SIGKILL of the launcher; it is started again. Raises Stuck if it does not run."""
        find(self.processes(), "launcher").kill()

    def processes(self) -> list[psutil.Process]:
        """Return all that runs in the pod."""
        if self._process is None or self._process.returncode is not None:
            return []
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(self._process.pid)
            return [own, *below(own)]
        return []

    async def stop(self) -> None:
        """End it in order, or by force after half a minute, and wait until all of it is gone."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                # The shim kills everything when its input ends.
                if process.stdin:
                    process.stdin.close()
                await process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self.started = time.monotonic()
        if self.rank == 0:
            self._group.hosts.write_text(f"{self.address} {self._group.head_name}\n")
        while not self._stopping:
            self._folder.mkdir(exist_ok=True)
            with self.log.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *_command(self._group, self),
                    env=self._environ(),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                )
            self.starts += 1
            await self._process.wait()
            await asyncio.sleep(_PAUSE_SECONDS)

    def _environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "GROUP_TOKEN": self._group.token,
            "MANTA_HOSTS": str(self._group.hosts),
            "MANTA_LOG": "text",
            "POD_NAME": f"group-0-{self.rank}",
            "POD_NAMESPACE": "default",
            "PYTHONPATH": str(_PYSITE),
            "TMPDIR": str(self._folder),
            **self._group.recipe.environ,
        }


def _command(group: Group, pod: Pod) -> Sequence[str]:
    recipe = group.recipe
    return (
        *(sys.executable, "-I", "-S", str(shim.__file__), "--"),
        *(str(Path(sys.executable).with_name("manta-runtime")), "engine"),
        *(f"--rank={pod.rank}", f"--group-size={group.size}", f"--pod-ip={pod.address}", f"--head={group.head_name}"),
        *("--executor=ray", "--accelerator=cpu", f"--startup-seconds={recipe.startup_seconds}", "--drain-seconds=5"),
        *("--", *recipe.vllm_flags, f"--tensor-parallel-size={group.size}"),
    )


def free_addresses(count: int) -> list[str]:
    """Return loopback addresses on which nobody listens at an engine's ports; boxes use 127.1 and 127.2."""
    chance = random.SystemRandom()
    found: list[str] = []
    while len(found) < count:
        address = f"127.{chance.randint(16, 250)}.{chance.randint(1, 250)}.{chance.randint(2, 250)}"
        if address not in found and all(_is_free(address, port) for port in (PORT, CONTROL_PORT)):
            found.append(address)
    return found


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
