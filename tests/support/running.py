"""A real `manta up` as a child of the tests, and waiting for what it serves."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manta_operator.box.kubelet import shim
from manta_operator.box.state import BoxState, read_state
from manta_operator.cli.watch import take
from manta_operator.controller.client import KubeClient

if TYPE_CHECKING:
    from demonstration.chat import Chat

ROOT = Path(__file__).parents[2]
MODELS = ROOT / ".models"
READY_SECONDS = 420
STOP_SECONDS = 120

only_all = pytest.mark.skipif(
    os.environ.get("MANTA_E2E") != "all",
    reason="takes minutes of a real engine; `make e2e` runs it (MANTA_E2E=all)",
)
"""For tests beyond a few seconds of the common box: `@only_all`, or `pytestmark = only_all` for a whole file."""


@dataclass(frozen=True)
class RunningBox:
    """A `manta up` that has started."""

    state: BoxState
    process: subprocess.Popen[bytes]
    words: Path


def start_box(folder: Path, *examples: str) -> RunningBox:
    """Start `manta up` for examples; it dies with this process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    words = folder / "up.log"
    command = [sys.executable, "-I", "-S", str(shim.__file__), "--", sys.executable, "-m", "manta_operator.cli", "up"]
    command += [f"--state={folder}", f"--map=/var/lib/manta/models={MODELS}"]
    command += [f"--file={ROOT / 'examples' / name}" for name in examples]
    with words.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=output, stderr=output)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        state = read_state(folder)
        if state is not None:
            return RunningBox(state, process, words)
        time.sleep(0.1)
    process.kill()
    pytest.fail(f"the box did not start:\n{words.read_text()}")


def stop_box(box: RunningBox) -> int:
    """End the box in order; returns its exit code."""
    box.process.send_signal(signal.SIGTERM)
    try:
        return box.process.wait(STOP_SECONDS)
    finally:
        if box.process.stdin:
            box.process.stdin.close()


async def wait_ready(box: RunningBox, client: KubeClient, name: str, replicas: int) -> None:
    """Wait until exactly `replicas` of a deployment serve and it is Ready."""
    deadline = time.monotonic() + READY_SECONDS
    view = None
    while time.monotonic() < deadline:
        assert box.process.poll() is None, f"the box ended:\n{box.words.read_text()}"
        view = (await take(client)).deployments.get(name)
        if view and view.is_ready and view.ready == view.desired == replicas:
            return
        await asyncio.sleep(0.5)
    pytest.fail(f"{name} was not ready in time: {view}\n{box.words.read_text()}")


async def chat_with(client: KubeClient, name: str) -> "Chat":
    """Return a client of a deployment's load balancer."""
    from demonstration.chat import Chat  # brings openai, which takes a second: only who talks waits for it

    service = await client.get("v1", "Service", "default", name)
    assert service is not None
    spec = service["spec"]
    return Chat(f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}/v1", name)
