"""The operator as `manta operator` starts it, in a process of its own, with a log of every request it makes.

`Operator` starts and ends the process; run as a program, this module is the process. The log is written inside it, at
the edge of the HTTP library, so that it costs microseconds, and no proxy stands in the way.
"""

import asyncio
import itertools
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manta_operator.box.kubelet.config import inherited_env
from manta_operator.box.kubelet.process import Launch, Process

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
FLUSH_SECONDS = 0.1
MODEL = """{"architectures": ["LlamaForCausalLM"], "num_attention_heads": 8, "num_key_value_heads": 8,
"hidden_size": 256, "num_hidden_layers": 4, "max_position_embeddings": 2048}"""


@dataclass(frozen=True)
class Request:
    """One request of the operator; times are seconds of the machine's monotonic clock, code 0 is no answer."""

    began: float
    ended: float
    code: int
    method: str
    path: str
    query: str

    @property
    def writes(self) -> bool:
        """Whether it asks for a change."""
        return self.method in WRITES


class Operator:
    """One operator after another on the same kubeconfig, logs appended."""

    def __init__(self, folder: Path, kubeconfig: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "models" / "tiny").mkdir(parents=True, exist_ok=True)
        (folder / "models" / "tiny" / "config.json").write_text(MODEL)
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._arguments = (f"--map=/models={folder / 'models'}", *arguments)
        self._process: Process | None = None
        self._read = 0
        self._rest = ""

    def start(self, die: str = "") -> None:
        """Start it; with `die` ("before:3", "after:3") it kills itself, -9, at its third write."""
        scratch = self._folder / "scratch"
        scratch.mkdir(exist_ok=True)
        env = (
            inherited_env()
            | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
            | {"KUBECONFIG": str(self._kubeconfig), "TMPDIR": str(scratch)}
        )
        command = [sys.executable, __file__, str(self._folder / "requests"), die, "operator", *self._arguments]
        self._process = Process(Launch("operator-chaos", command, env, Path.cwd(), self._folder / "log", scratch))

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            await self._process.kill_and_wait()

    async def dies_within(self, seconds: float) -> bool:
        """Wait for it to end by itself; whether it did."""
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def end(self) -> int:
        """SIGTERM; its exit code."""
        self._process.terminate()
        return await asyncio.wait_for(self._process.wait(), 60)

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """Process id of the shim over the operator."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said so far, all its lives together."""
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""

    def requests(self) -> list[Request]:
        """The requests answered since the last call."""
        path = self._folder / "requests"
        if not path.exists():
            return []
        with path.open() as file:
            file.seek(self._read)
            text = self._rest + file.read()
            self._read = file.tell()
        *lines, self._rest = text.split("\n")
        return [_parsed(line) for line in lines]


def _parsed(line: str) -> Request:
    began, ended, code, method, url = line.split(" ", 4)
    parts = urlsplit(url)
    return Request(float(began), float(ended), int(code), method.upper(), parts.path, parts.query)


def _be_the_operator(log: Path, die: str, arguments: list[str]) -> None:
    import aiohttp

    from manta_operator.cli.main import main

    plain = aiohttp.ClientSession._request
    moment, _, number = die.partition(":")
    left = itertools.count(int(number or 0), -1)
    with log.open("a") as file:
        # Not line by line: at hundreds of requests a second that took 5 % of the operator's CPU.
        threading.Thread(target=_flush, args=(file,), daemon=True).start()

        async def logged(self: aiohttp.ClientSession, method: str, url: Any, **more: Any) -> Any:
            began, code = time.monotonic(), 0
            last = die and method.upper() in WRITES and next(left) == 1
            if last and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                answer = await plain(self, method, url, **more)
                code = answer.status
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)
            finally:
                file.write(f"{began:.4f} {time.monotonic():.4f} {code} {method} {url}\n")
            return answer

        aiohttp.ClientSession._request = logged
        main(arguments)


def _flush(file: Any) -> None:
    while True:
        time.sleep(FLUSH_SECONDS)
        file.flush()


if __name__ == "__main__":
    _be_the_operator(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
