"""Processes of the launcher: start one, wait, end it with everything it started. Effects only.

What a child prints goes line by line to whoever listens (relay.py), or straight to our own output.

The launcher is PID 1 of its container, so orphans end up here: as PID 1 by the kernel's rule, elsewhere because we ask
for it. Ray's and vLLM's grandchildren leave their process group; that is why trees are walked, not groups signalled.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from manta_runtime.engine.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger("manta.engine")

_PR_SET_CHILD_SUBREAPER = 36
_LAST_LINES_SECONDS = 0.5
_GONE_SECONDS = 10.0
"""What waits for a driver or a disk (state D) does not die of a SIGKILL before that is over."""


def adopt_orphans() -> None:
    """Make the kernel give us our descendants' orphans, as it does for PID 1. Does nothing where it cannot."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(own: Sequence[Child]) -> None:
    """Collect adopted processes that have ended. Those in `own` are left to their waiters."""
    waited_for = {child.pid for child in own}
    for process in psutil.Process().children():
        if process.pid in waited_for:
            continue
        with suppress(psutil.Error, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def kill_descendants() -> None:
    """SIGKILL everything below this process: the last act of a launcher."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()


class Child:
    """A running child process in a session of its own, so that a Ctrl-C in a terminal reaches only the launcher.

    `causes`: what it has said of why it ends, for the sentence that ends the launcher.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, relay: Relay | None = None) -> None:
        self.name = name
        self.causes: list[str] = []
        self._process = process
        self._relay = relay

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        hear: Callable[[str], None] | None = None,
    ) -> Child:
        """Start `command`. `hear` gets each line of its output; without it the output is ours. Raises OSError."""
        relay, output = await Relay.open(hear) if hear else (None, None)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
            )
        except OSError:
            if relay:
                await relay.finish(0)
            raise
        finally:
            if output is not None:
                os.close(output)
        return cls(name, process, relay)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code as a shell gives it (128 + signal), or None while it runs."""
        code = self._process.returncode
        return code if code is None or code >= 0 else 128 - code

    async def wait(self) -> int:
        """Wait for the end and its last lines, and return the exit code."""
        await self._process.wait()
        await self._hear_out()
        code = self.exit_code
        return 1 if code is None else code

    async def stop(self, grace: float) -> None:
        """Send SIGTERM, wait up to `grace` seconds, then SIGKILL it and all that it started."""
        tree = self._tree()
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._process.wait()
        await self._kill([*tree, *self._tree()])

    async def kill(self) -> None:
        """SIGKILL it and all that it started, and wait until it is gone, 10 s at most."""
        await self._kill(self._tree())

    async def _kill(self, tree: Sequence[psutil.Process]) -> None:
        for process in tree:
            with suppress(psutil.Error):  # psutil compares start times: a reused pid is left alone
                process.kill()
        try:
            async with asyncio.timeout(_GONE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.warning(
                "%s (process %d) has not ended %.0f s after SIGKILL: a driver or a disk holds it",
                self.name,
                self.pid,
                _GONE_SECONDS,
            )
        await self._hear_out()

    async def _hear_out(self) -> None:
        if self._relay:
            await self._relay.finish(_LAST_LINES_SECONDS)

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []
