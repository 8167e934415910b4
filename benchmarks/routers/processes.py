"""Processes of one contender: started with their output in files, watched for CPU time and memory, ended by pid."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import aiohttp
import psutil

_END_SECONDS = 10.0


class ContenderError(Exception):
    """A router could not be started; the message says why."""


class Processes:
    """The processes of one router, ended with `async with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[tuple[asyncio.subprocess.Process, Path]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process, _ in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process, _ in self._running:
            try:
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start one process; its output goes to `<name>.log`."""
        log = self._folder / f"{name}.log"
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(*command, env=dict(env), stdout=out, stderr=out)
        self._running.append((process, log))

    async def answering(self, url: str, seconds: float = 60.0) -> None:
        """Wait until `url` answers 200. ContenderError if a process ends before, or after `seconds`."""
        async with aiohttp.ClientSession() as session:
            deadline = asyncio.get_running_loop().time() + seconds
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
                        if response.status == 200:
                            return
                ended = [log for process, log in self._running if process.returncode is not None]
                if ended or asyncio.get_running_loop().time() > deadline:
                    log = (ended or [self._running[-1][1]])[0]
                    raise ContenderError(f"{url} does not answer; the end of {log.name}: {tail(log)}")
                await asyncio.sleep(0.1)

    def cpu_seconds(self) -> float:
        """User and system time of all of them so far, their children included."""
        times = [process.cpu_times() for process in self._tree()]
        return sum(t.user + t.system for t in times)

    def rss_bytes(self) -> int:
        """Resident memory of all of them now."""
        return sum(process.memory_info().rss for process in self._tree())

    def rss_by_name(self) -> dict[str, int]:
        """The same by process name, summed."""
        found: dict[str, int] = {}
        for process in self._tree():
            found[process.name()] = found.get(process.name(), 0) + process.memory_info().rss
        return found

    def _tree(self) -> list[psutil.Process]:
        roots = [psutil.Process(process.pid) for process, _ in self._running if process.returncode is None]
        return [member for root in roots for member in (root, *root.children(recursive=True))]


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, on one line."""
    return " | ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) or "(empty)"


def claim_network() -> str:
    """Three octets of loopback addresses nobody else uses; a bound port is the lock, released with this process."""
    for number in range(1, 255):
        lock = socket.socket()
        try:
            lock.bind((f"127.6.{number}.254", 6443))
        except OSError:
            lock.close()
            continue
        lock.detach()
        return f"127.6.{number}"
    raise ContenderError("254 benchmarks run at once: no addresses are left")
