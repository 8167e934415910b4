"""A head with a stand-in for vLLM, faster than in a pod."""

import asyncio
import sys

import aiohttp
import pytest
from stand_in import ENGINE, Running, settings_of_a_head, sleeping_ray

from manta_runtime.engine import drain, draining, group, head, probing, progress, stalls, vllm_process


@pytest.fixture
async def start(tmp_path, monkeypatch):
    """Return a function that starts a head with the stand-in engine; everything is faster than in a pod."""
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    monkeypatch.setattr(
        vllm_process, "vllm_command", lambda settings: [sys.executable, "-I", str(script), str(settings.port)]
    )
    monkeypatch.setattr(head, "start_ray", sleeping_ray)
    monkeypatch.setattr(group, "MEETING_SECONDS", 0.0)
    monkeypatch.setattr(stalls, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(progress, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(head, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(probing, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(draining, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(drain, "QUIET_SECONDS", 0.2)
    running = []

    async with aiohttp.ClientSession() as session:

        def launch(group_size=1, drain_seconds=5.0, startup_seconds=60.0, hang_seconds=300.0, **others):
            settings = settings_of_a_head(
                tmp_path,
                group_size,
                drain_seconds=drain_seconds,
                startup_seconds=startup_seconds,
                hang_seconds=hang_seconds,
                **others,
            )
            running.append(Running(settings, session))
            return running[-1]

        yield launch
        for each in running:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)
