"""A head that runs in the test with a stand-in for vLLM: real processes, real HTTP, no model."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp

from manta_runtime.engine.head import run_head
from manta_runtime.engine.journal import Journal, place_of
from manta_runtime.engine.processes import Child
from manta_runtime.engine.ray_node import free_port
from manta_runtime.engine.settings import EngineSettings
from manta_runtime.engine.stop import Stop
from manta_runtime.engine.vllm_client import make_client

HOST = "127.0.0.1"
TOKEN = "s3cret"
# /busy sets how many requests are in flight, /left how many clients hold on to finished ones, /hang makes steps stop
# (0: go on; 2: the next question is not answered), /sick fails /health, /mute /metrics, /begin begins a request that is
# over at once, /exit ends the process with a code, /killed as vLLM ends when one of its ranks is killed.
ENGINE = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
state = {"busy": 0, "left": 0, "hang": 0, "sick": 0, "mute": 0, "steps": 0, "begun": 0}
class Handler(BaseHTTPRequestHandler):
    def answer(self, text):
        self.send_response(200); self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text.encode())
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if state["hang"]:
            state["left"] += state["hang"] == 2
            return self.send_error(500)
        state["steps"] += 1
        self.answer(json.dumps({"usage": {"completion_tokens": 1}}))
    def do_GET(self):
        what, _, value = self.path.strip("/").partition("/")
        if what == "exit":
            os._exit(int(value))
        if what == "killed":
            print("(EngineCore pid=9) ERROR 11-21 17:53:10 [ray_executor_v2.py:522] RayWorkerProc rank=[" + value
                  + "] died unexpectedly, shutting down executor.", flush=True)
            os._exit(0)
        state["begun"] += what == "begin"
        if what in ("busy", "left", "hang", "sick", "mute"):
            state[what] = int(value)
        if state["sick"] and what == "health" or state["mute"] and what == "metrics":
            return self.send_error(503)
        if what == "load":
            return self.answer(json.dumps({"server_load": state["busy"] + state["left"]}))
        state["steps"] += bool(state["busy"] and not state["hang"])
        running = 0 if state["hang"] else state["busy"]
        self.answer("vllm:num_requests_running %d\\nvllm:num_requests_waiting 0\\n"
                    "vllm:iteration_tokens_total_count %d\\nvllm:prompt_tokens_total %d\\n"
                    % (running, state["steps"], state["begun"]))
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Running:
    """A head that runs in this test, and the ways to look at it."""

    def __init__(self, settings: EngineSettings, session: aiohttp.ClientSession) -> None:
        self.stop = Stop()
        self._epoch = ""
        self.answer = {}
        self._settings = settings
        self._session = session
        self.journal = Journal(place_of(settings))
        client = make_client(session, settings, {})
        self.task = asyncio.create_task(run_head(settings, {}, self.stop, client, self.journal))

    async def readyz(self) -> tuple[int, str]:
        url = f"http://{HOST}:{self._settings.control_port}/readyz"
        try:
            async with self._session.get(url) as response:
                return response.status, await response.text()
        except aiohttp.ClientError:
            return 0, ""

    async def engine(self, path: str) -> None:
        try:
            async with self._session.get(f"http://{HOST}:{self._settings.port}/{path}") as response:
                await response.read()
        except aiohttp.ClientError:
            assert path.startswith(("exit", "killed")), path

    async def join(self, stage: str, rank: int = 1, why: str = "") -> int:
        body = {"rank": rank, "podIp": HOST, "podName": "tiny-1", "instance": "i", "stage": stage, "epoch": self._epoch}
        body["why"] = why
        url = f"http://{HOST}:{self._settings.control_port}/group/join"
        async with self._session.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            self.answer = await response.json()
            self._epoch = self.answer["epoch"]
            return response.status

    async def until(self, status: int, words: str = "") -> None:
        """Wait until /readyz answers `status` with `words`."""
        async with asyncio.timeout(60):
            while (answer := await self.readyz())[0] != status or words not in answer[1]:
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.02)

    async def until_seen_in_flight(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.journal.in_flight != count:  # noqa: ASYNC110 - the journal has no events
                await asyncio.sleep(0.02)

    async def until_ready(self) -> None:
        await self.until(200)


async def sleeping_ray(_settings, environment, hear=None):
    """Stand in for a Ray head: a process that lives as long as it is let."""
    return await Child.start("ray", [sys.executable, "-I", "-c", "import time; time.sleep(60)"], environment), "h:1"


def settings_of_a_head(scratch: Path, group_size: int, **others: Any) -> EngineSettings:
    """The settings of a head on free ports of this machine; `others`: drain_, startup_, hang_seconds, adapters."""
    return EngineSettings(
        rank=0,
        group_size=group_size,
        pod_ip=HOST,
        pod_name="tiny-0",
        head=HOST,
        port=free_port(HOST),
        control_port=free_port(HOST),
        executor="ray" if group_size > 1 else "uni",
        accelerator="cpu",
        accelerators_per_pod=1,
        scratch=scratch,
        vllm_flags=("--model=/m", "--served-model-name=tiny", f"--tensor-parallel-size={group_size}"),
        group_token=TOKEN,
        **others,
    )
