"""One Ray node as a child process. Used by head and workers of a group with executor ray.

`ray stop` is never used: it kills every Ray of the machine. The node runs under `ray start --block`, and ends with it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections import deque
from typing import TYPE_CHECKING

from manta_runtime.engine.commands import ray_command
from manta_runtime.engine.failure import EngineFailure
from manta_runtime.engine.processes import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from manta_runtime.engine.settings import EngineSettings

_ATTEMPTS = 3
_STOP_GRACE = 2.0
_LAST_WORDS = 12
_DIED = re.compile(r"(\w+) \[exit code=(-?\d+)\]")
"""What `ray start --block` says of the process whose end it ends for."""


async def start_ray(
    settings: EngineSettings,
    environment: Mapping[str, str],
    address: str = "",
    hear: Callable[[str], None] | None = None,
) -> tuple[Child, str]:
    """Start a Ray head (`address` "") or a node that joins `address`; return it and the address of its cluster.

    `hear` gets every line that Ray prints. Returns when the node is up. Raises EngineFailure with Ray's own last words
    when it is not, after three attempts.
    """
    words: deque[str] = deque(maxlen=_LAST_WORDS)
    causes: list[str] = []

    def listen(line: str) -> None:
        words.append(line)
        if died := _DIED.search(line):
            causes.append(f"{died[1]} ended with {died[2]}")
        if hear:
            hear(line)

    for _ in range(_ATTEMPTS):
        # A node that ended badly leaves its old address behind.
        await asyncio.to_thread(shutil.rmtree, settings.ray_folder, ignore_errors=True)
        await asyncio.to_thread(settings.ray_folder.mkdir, parents=True)
        words.clear()
        causes.clear()
        command = ray_command(settings, address, free_port(settings.pod_ip))
        child = await Child.start("ray", command, environment, listen)
        child.causes = causes
        try:
            published = await _published_address(child, settings.ray_folder / "ray_current_cluster")
        except asyncio.CancelledError:
            await child.kill()
            raise
        if published:
            return child, published
        await child.kill()
    role = f"join Ray at {address}" if address else "start a Ray head"
    raise EngineFailure(f"could not {role} after {_ATTEMPTS} attempts; Ray's last words:\n" + "\n".join(words))


async def stop_ray(child: Child) -> None:
    """End this pod's Ray node, and no other."""
    await child.stop(_STOP_GRACE)


def free_port(host: str) -> int:
    """Return a port that is free on `host` now. Somebody may take it before it is used: be ready to try again."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def _published_address(child: Child, file: Path) -> str:
    # `ray start` writes the file last, on heads and on workers, when the node is up.
    while child.exit_code is None:
        if await asyncio.to_thread(file.exists):
            text = await asyncio.to_thread(file.read_text)
            if text.strip():
                return text.strip()
        await asyncio.sleep(0.2)
    return ""
