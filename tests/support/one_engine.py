"""One real vLLM engine without a box: the smallest there is, ready in half a minute on a quiet machine."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from running import MODELS, READY_SECONDS

_FLAGS = ["--distributed-executor-backend", "uni", "--enforce-eager", "--dtype", "bfloat16", "--max-model-len", "1024"]
_CACHE = ["--kv-cache-memory-bytes", "64M", "--enable-prompt-tokens-details"]
END_SECONDS = 30
ENVIRON = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


@asynccontextmanager
async def running_engine(folder: Path, address: str, *more: str) -> AsyncIterator[Process]:
    """The tiny model as `tiny` on address:8000, starting; its log is in folder/engine.log. All its processes end."""
    flags = ["--model", str(MODELS / "tiny"), "--served-model-name", "tiny", "--host", address, "--port", "8000"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags, *_FLAGS, *_CACHE, *more]
    with (folder / "engine.log").open("wb") as log:
        # In a group of its own: a server that is killed leaves its engine core behind.
        engine = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=os.environ | ENVIRON, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield engine
    finally:
        with suppress(ProcessLookupError):
            engine.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(engine.wait(), END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(engine.pid, signal.SIGKILL)
        await engine.wait()


async def is_serving(session: aiohttp.ClientSession, engine: Process, address: str) -> bool:
    """Wait until it answers; False if it ended instead."""
    async with asyncio.timeout(READY_SECONDS):
        while engine.returncode is None:
            try:
                async with session.get(f"http://{address}:8000/health") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                await asyncio.sleep(0.5)
    return False
