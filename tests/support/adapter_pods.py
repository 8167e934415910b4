"""A replica group without a box: the launcher of each rank and its container that fetches adapters, as processes.

Every pod has an address and a state folder of its own; the list of adapters and the cache are common to all.
"""

import asyncio
import hashlib
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import aiohttp
from fetching import ROOT, environ
from running import MODELS

TOKEN = "the-secret-of-this-group"
PORT, CONTROL = 8000, 8001
SECONDS = 90
_LORA = ("--enable-lora", "--max-lora-rank=16", "--max-loras=2")
_REAL = (
    "--enforce-eager",
    "--dtype=bfloat16",
    "--max-model-len=1024",
    "--kv-cache-memory-bytes=64M",
)


class AdapterGroup:
    """`size` pods of one engine; use it as an async context manager. `net` is a part of their addresses."""

    def __init__(self, folder: Path, net: int, size: int = 1, *, real: bool = False, **env: str) -> None:
        self.folder, self.size, self.real = folder, size, real
        self.addresses = [f"127.6.{net}.{rank + 1}" for rank in range(size)]
        self.url = f"http://{self.addresses[0]}:{PORT}"
        self.control = f"http://{self.addresses[0]}:{CONTROL}"
        self.seconds = 400 if real else SECONDS
        self.startup_seconds = 400
        self.flags: tuple[str, ...] = ()
        self._env = env
        self._processes: list[tuple[str, asyncio.subprocess.Process]] = []
        self._mount = folder / "list"
        self._version = 0
        self._scratch = [tempfile.TemporaryDirectory(prefix="m", dir="/tmp") for _ in range(size)]
        self._mount.mkdir(parents=True)
        self.want()

    def entry(self, name: str, uri: str, **more: str) -> dict[str, object]:
        """An entry of the list as the operator writes it, for what is fetched."""
        known = {"revision": None, "endpoint": None, "region": None, "secret": None} | more
        key = name_of(uri, *filter(None, known.values()))
        path = self.folder / "cache/adapters" / key
        return {"name": name, "key": key, "path": str(path), "fetch": True, "uri": uri} | known

    def mounted(self, name: str, path: Path) -> dict[str, object]:
        """An entry for a folder that is there."""
        uri = f"file://{path}"
        nothing = dict.fromkeys(("revision", "endpoint", "region", "secret"))
        return {"name": name, "key": name_of(uri), "path": str(path), "fetch": False, "uri": uri} | nothing

    def want(self, *entries: dict[str, object]) -> str:
        """Ask for these adapters from now on; returns the list's hash."""
        text = json.dumps(entries)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.write(json.dumps({"hash": digest, "adapters": entries}))
        return digest

    def write(self, text: str) -> None:
        """Swap the file as kubelets do: a new folder, and one rename of the link to it."""
        self._version += 1
        data = self._mount / f"..{self._version}"
        data.mkdir()
        (data / "adapters.json").write_text(text)
        (self._mount / "..new").symlink_to(data.name)
        (self._mount / "..new").rename(self._mount / "..data")
        with suppress(FileExistsError):
            (self._mount / "adapters.json").symlink_to("..data/adapters.json")

    async def __aenter__(self) -> "AdapterGroup":
        self.session = aiohttp.ClientSession()
        for rank in range(self.size):
            await self.start_adapters(rank)
        for rank in range(self.size):
            await self.start_engine(rank)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        for _, process in reversed(self._processes):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for _, process in self._processes:
            try:
                await asyncio.wait_for(process.wait(), 60)
            except TimeoutError:
                process.kill()
                await process.wait()
        for scratch in self._scratch:
            scratch.cleanup()

    async def start_adapters(self, rank: int) -> asyncio.subprocess.Process:
        """Start the container that fetches, of one pod."""
        words = [
            "adapters",
            f"--wanted={self._mount / 'adapters.json'}",
            f"--told={self._state(rank) / 'adapters'}",
            f"--secrets={self.folder / 'secrets'}",
            f"--pod-ip={self.addresses[rank]}",
        ]
        return await self._start(f"adapters-{rank}", words, environ(**self._env))

    async def start_engine(self, rank: int) -> asyncio.subprocess.Process:
        """Start the launcher of one pod."""
        group = ["--executor=ray", f"--group-size={self.size}", f"--head={self.addresses[0]}"] if self.size > 1 else []
        vllm = [f"--model={MODELS / 'tiny'}", "--served-model-name=tiny", *_LORA, *self.flags]
        if self.size > 1:
            vllm.append(f"--tensor-parallel-size={self.size}")
        words = [
            "engine",
            f"--rank={rank}",
            f"--pod-ip={self.addresses[rank]}",
            f"--startup-seconds={self.startup_seconds}",
            "--accelerator=cpu",
            "--drain-seconds=5",
            f"--adapters={self._mount / 'adapters.json'}",
            *group,
            "--",
            *vllm,
            *(_REAL if self.real else ["--simulate-startup-seconds=0"]),
        ]
        env = environ(**self._env) | {
            "POD_NAME": f"tiny-1a2b-0-{rank}",
            "GROUP_TOKEN": TOKEN,
            "MANTA_STATE": str(self._state(rank)),
            # Short: Ray keeps sockets there.
            "TMPDIR": self._scratch[rank].name,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        }
        return await self._start(f"engine-{rank}", words, env if self.real else env | {"MANTA_ENGINE": "simulate"})

    async def _start(self, name: str, words: list[str], env: dict[str, str]) -> asyncio.subprocess.Process:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "manta_runtime.main", *words, cwd=ROOT, env=env, stdout=log, stderr=log
            )
        self._processes.append((name, process))
        return process

    def running(self, kind: str) -> list[asyncio.subprocess.Process]:
        """The processes of `engine` or `adapters` that have not ended."""
        return [process for name, process in self._processes if name.startswith(kind) and process.returncode is None]

    def _state(self, rank: int) -> Path:
        folder = self.folder / f"state{rank}"
        folder.mkdir(exist_ok=True)
        return folder

    async def told(self) -> dict[str, object]:
        """GET /adapters of the head."""
        async with self.session.get(f"{self.control}/adapters") as response:
            assert response.status == 200
            return await response.json()

    async def until(self, name: str, state: str, words: str = "") -> dict[str, object]:
        """Wait until the head tells this state and these words of an adapter; returns what it tells."""
        seen: object = None
        try:
            async with asyncio.timeout(self.seconds):
                while True:
                    with suppress(aiohttp.ClientError):
                        seen = await self.told()
                        for adapter in seen["adapters"]:
                            if (adapter["name"], adapter["state"]) == (name, state) and words in adapter["message"]:
                                return adapter
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{name} never was {state} {words}: {seen}\n{self.logs()}") from None

    async def until_loaded(self, name: str, *entries: dict[str, object]) -> None:
        """Ask for these adapters, and wait until the head has read that, and has loaded the one of this name."""
        await self.until_told(self.want(*entries))
        await self.until(name, "Loaded")

    async def until_told(self, digest: str) -> list[str]:
        """Wait until the head has read this list and has left nothing to unload; returns the names it tells."""
        async with asyncio.timeout(self.seconds):
            while True:
                told = await self.told()
                names = [adapter["name"] for adapter in told["adapters"] if adapter["state"] != "Unloading"]
                if told["hash"] == digest and len(names) == len(told["adapters"]):
                    return names
                await asyncio.sleep(0.1)

    async def until_said(self, name: str, words: str, count: int = 1) -> None:
        """Wait until a log, such as `engine-0`, has these words so often."""
        async with asyncio.timeout(self.seconds):
            while (self.folder / f"{name}.log").read_text().count(words) < count:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.1)

    async def until_served(self, model: str, status: int) -> None:
        """Wait until vLLM answers a request for this model with this status."""
        async with asyncio.timeout(self.seconds):
            while (await self.ask(model, 1))[0] != status:  # noqa: ASYNC110 - another process decides it
                await asyncio.sleep(0.1)

    async def readiness(self) -> tuple[int, str]:
        """GET /readyz of the head; 0 while nobody listens."""
        try:
            async with self.session.get(f"{self.control}/readyz") as response:
                return response.status, await response.text()
        except aiohttp.ClientError:
            return 0, ""

    async def until_ready(self, status: int = 200, words: str = "") -> None:
        """Wait until /readyz answers so."""
        answer = (0, "")
        try:
            async with asyncio.timeout(self.seconds):
                while answer[0] != status or words not in answer[1]:
                    answer = await self.readiness()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"/readyz said {answer}, never {status} {words}\n{self.logs()}") from None

    async def ask(self, model: str, tokens: int = 16) -> tuple[int, str]:
        """Ask for a greedy completion: the status and the text, or the error."""
        body = {"model": model, "prompt": "What is a manta", "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        async with self.session.post(f"{self.url}/v1/completions", json=body) as response:
            answer = await response.json()
        return response.status, answer["choices"][0]["text"] if response.status == 200 else answer["error"]["message"]

    async def status(self) -> dict[str, object]:
        """GET /status of the head."""
        async with self.session.get(f"{self.control}/status") as response:
            return await response.json()

    async def metrics(self) -> str:
        """GET /metrics of the head's launcher."""
        async with self.session.get(f"{self.control}/metrics") as response:
            return await response.text()

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


def name_of(*parts: str) -> str:
    """A key as the operator makes them: another for each source and revision."""
    return f"a-{hashlib.sha256(os.linesep.join(parts).encode()).hexdigest()[:10]}"
