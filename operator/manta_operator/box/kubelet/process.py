"""One process tree under a shim, as seen from the kubelet's event loop.

`container.py` starts containers with it, `probes.py` and hooks their commands.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta_operator.box.kubelet.reaper import MARKER, kill_marked

_SHIM_SECONDS = 5.0
_SHIM = Path(__file__).with_name("shim.py")


@dataclass(frozen=True)
class Launch:
    """Everything needed to start one process: the command is final, the environment complete."""

    id: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    output: Path
    scratch: Path | None = None
    """Removed by the shim when the process tree is gone."""


class Process:
    """A running shim and its tree. `wait` may be awaited by several tasks at once."""

    def __init__(self, launch: Launch) -> None:
        """Start it; OSError if the working folder or the output file cannot be used. Blocks for a few milliseconds."""
        self.launch = launch
        remove = ["--remove", str(launch.scratch)] if launch.scratch else []
        with launch.output.open("ab") as output:
            self._shim = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SHIM), *remove, "--", *launch.command],
                env={**launch.env, MARKER: launch.id},
                cwd=launch.cwd,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._exited = asyncio.get_running_loop().create_future()
        self._pidfd = os.pidfd_open(self._shim.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Process id of the shim."""
        return self._shim.pid

    @property
    def running(self) -> bool:
        """Whether the shim still lives."""
        return not self._exited.done()

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._shim.wait()
        if self._shim.stdin:
            self._shim.stdin.close()
        self._exited.set_result(code)

    async def wait(self) -> int:
        """Exit code of the main process (128 + signal if killed), once nothing of the tree is left."""
        code: int = await asyncio.shield(self._exited)
        if code >= 0:
            return code
        # Somebody killed the shim itself: what it guarded must not live on.
        await asyncio.to_thread(kill_marked, MARKER, self.launch.id)
        return 128 - code

    def terminate(self) -> None:
        """Ask the main process to end (SIGTERM)."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._shim.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL the whole tree: the shim does it when its standard input closes."""
        if self.running and self._shim.stdin:
            self._shim.stdin.close()

    async def kill_and_wait(self) -> int:
        """SIGKILL the whole tree and wait until it is gone; a shim that does not answer is killed as well."""
        self.kill()
        try:
            async with asyncio.timeout(_SHIM_SECONDS):
                return await self.wait()
        except TimeoutError:
            if self.running:
                self._shim.kill()
            return await self.wait()


async def run_to_end(launch: Launch, seconds: float) -> int | None:
    """Run a command to its end; its exit code, or None when it took longer than `seconds` and was killed."""
    process = Process(launch)
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.running:
            await _whatever_cancels(process.kill_and_wait())


async def _whatever_cancels(ending: Coroutine[Any, Any, Any]) -> None:
    """Wait to the end, also when cancelled meanwhile: the caller must not clean up under a command that still runs."""
    task, cancelled = asyncio.ensure_future(ending), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
