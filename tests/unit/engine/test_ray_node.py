"""A Ray node as a child: up when it has published its address, and what it says of its end. A script plays Ray."""

import asyncio
import sys

from stand_in import settings_of_a_head

from manta_runtime.engine import ray_node
from manta_runtime.engine.ray_node import start_ray

RAY = """
import pathlib, sys
pathlib.Path(sys.argv[1], "ray_current_cluster").write_text("127.0.0.1:7000")
sys.stdin.close()
print("2026-11-21 17:41:02,113\tERR scripts.py:1307 -- Some Ray subprocesses exited unexpectedly:")
print("2026-11-21 17:41:02,114\tERR scripts.py:85 --   gcs_server [exit code=-9]", flush=True)
sys.exit(1)
"""


async def test_what_ended_a_node_is_known(tmp_path, monkeypatch):
    settings = settings_of_a_head(tmp_path, 2, startup_seconds=10.0, drain_seconds=1.0)
    command = [sys.executable, "-I", "-c", RAY, str(settings.ray_folder)]
    monkeypatch.setattr(ray_node, "_published_address", published)
    monkeypatch.setattr(ray_node, "ray_command", lambda *_: command)
    heard = []
    child, address = await start_ray(settings, {}, hear=heard.append)
    assert address == "127.0.0.1:7000"
    assert await child.wait() == 1
    assert child.causes == ["gcs_server ended with -9"]
    assert len(heard) == 2


async def published(_child, file):
    """The address, also when the node ends at once."""
    while not file.exists():  # noqa: ASYNC110 - as the real one
        await asyncio.sleep(0.02)
    return file.read_text()
