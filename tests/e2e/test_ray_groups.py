"""Groups of real Ray nodes: what they bind is free, what they join is their own, and nobody goes before them."""

import asyncio
import json
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import only_all

from manta_runtime.engine.commands import engine_environment
from manta_runtime.engine.ray_node import start_ray, stop_ray
from manta_runtime.engine.settings import EngineSettings

pytestmark = only_all
ADDRESS = "127.1.90.1"
NODES = """
import json, ray
ray.init(logging_level="error", log_to_driver=False)
print(json.dumps([[node["NodeID"], node["Resources"].get("GPU"), node["Alive"]] for node in ray.nodes()]))
"""
NICENESS = """
import json, os, ray
ray.init(logging_level="error", log_to_driver=False)
print(json.dumps(ray.get(ray.remote(num_cpus=0)(lambda: os.getpriority(os.PRIO_PROCESS, 0)).remote())))
"""
BASE = EngineSettings(
    rank=0,
    group_size=2,
    pod_ip=ADDRESS,
    pod_name="demo-0-0",
    head="head",
    port=8000,
    control_port=8001,
    executor="ray",
    accelerator="cpu",
    accelerators_per_pod=1,
    startup_seconds=300,
    drain_seconds=1,
    scratch=Path(),
    vllm_flags=("--model=/models/tiny", "--tensor-parallel-size=2"),
)
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir()}


@asynccontextmanager
async def group(per_pod: int) -> AsyncIterator[tuple[str, str, list[int]]]:
    """A Ray head and a worker with `per_pod` devices each; yields address, token and the ids of their processes."""
    token = secrets.token_hex(32)
    async with AsyncExitStack() as stack:
        address, processes = "", []
        for rank in range(2):
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="r", dir="/tmp")))
            settings = replace(BASE, rank=rank, scratch=scratch, accelerators_per_pod=per_pod)
            settings = replace(settings, vllm_flags=(settings.vllm_flags[0], f"--tensor-parallel-size={2 * per_pod}"))
            child, published = await start_ray(settings, engine_environment(settings, PLAIN, address, token), address)
            stack.push_async_callback(stop_ray, child)
            processes.append(child.pid)
            address = address or published
        yield address, token, processes


async def drive(script: str, address: str, token: str) -> tuple[int, Any, str]:
    """Run a driver with this token; returns its exit code, what it printed (JSON) and the last words."""
    environment = engine_environment(replace(BASE, scratch=Path(tempfile.gettempdir())), PLAIN, address, token)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=environment, stdout=-1, stderr=-1)
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    lines = output.decode().splitlines()
    return process.returncode or 0, json.loads(lines[-1]) if lines and not process.returncode else None, errors.decode()


def ports(processes: list[int]) -> set[int]:
    """The ports that a group listens on."""
    found = set()
    for pid in processes:
        for each in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            found |= {c.laddr.port for c in each.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.timeout(600)
async def test_two_groups_on_one_address_do_not_meet():
    async with group(1) as (one, token, ours), group(3) as (two, another, theirs):
        assert one != two
        assert not ports(ours) & ports(theirs)
        for address, right, devices in ((one, token, 1.0), (two, another, 3.0)):
            code, found, words = await drive(NODES, address, right)
            assert code == 0, words
            assert [(count, alive) for _, count, alive in found] == [(devices, True)] * 2, "its own two nodes alone"
        code, _, words = await drive(NODES, two, token)
        assert code != 0, "a token of another group lets nobody in"
        assert "token" in words.lower() or "unauthenticated" in words.lower(), words[-2000:]


@pytest.mark.timeout(600)
async def test_the_engine_is_not_stepped_back_behind_everything_else():
    async with group(1) as (address, token, _):
        code, niceness, words = await drive(NICENESS, address, token)
    assert code == 0, words
    assert niceness == os.getpriority(os.PRIO_PROCESS, 0), "Ray's own default is 15"
