"""The routers in the race: how each is installed and started, as its own documentation says.

Peers are never part of Manta: they live in virtual environments of their own under build/, installed when the
benchmark runs, or are left out with the reason.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from routers import manta_router
from routers.backend import MODEL, PORT
from routers.client import Target
from routers.processes import ContenderError, Processes

VLLM_ROUTER = "vllm-router==0.1.17"
_INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Place:
    """Where a contender runs: its own address, the backends' addresses, a folder for its files, the pods' API."""

    address: str
    backends: Sequence[str]
    folder: Path
    api: str


Start = Callable[[Processes, Place], Awaitable[Target]]


@asynccontextmanager
async def running(start: Start, place: Place) -> AsyncIterator[tuple[Target, Processes]]:
    """One contender, ready to be asked. ContenderError if it does not start."""
    async with Processes(place.folder) as processes:
        yield await start(processes, place), processes


async def direct(processes: Processes, place: Place) -> Target:  # noqa: ARG001 - no router, no process
    """The first backend without a router."""
    return Target(place.backends[0], PORT)


async def manta(processes: Processes, place: Place) -> Target:
    """Envoy and the picker, policy prefix, everything on."""
    return await manta_router.start(processes, place.folder, place.address, place.api)


def vllm_router(policy: str) -> Start:
    """The Rust router of the vLLM project with one of its policies."""

    async def start(processes: Processes, place: Place) -> Target:
        binary = environment("vllm-router", (VLLM_ROUTER,)) / "vllm-router"
        urls = [f"http://{backend}:{PORT}" for backend in place.backends]
        at = ("--host", place.address, "--port", "8000", "--prometheus-host", place.address)
        command = (str(binary), *at, "--policy", policy, "--worker-urls", *urls)
        await processes.start(f"vllm-router-{policy}", command, os.environ)
        await processes.answering(f"http://{place.address}:8000/health")
        return Target(place.address, 8000)

    return start


async def production_stack(processes: Processes, place: Place) -> Target:
    """The Python router of vLLM's production stack, from a checkout named by PRODUCTION_STACK (it is not on PyPI)."""
    source, requirements = _checkout()
    binary = environment("production-stack", ("-r", str(requirements))) / "python"
    urls = ",".join(f"http://{backend}:{PORT}" for backend in place.backends)
    count = len(place.backends)
    found = ("--service-discovery", "static", "--static-backends", urls, "--static-models", ",".join([MODEL] * count))
    at = ("--host", place.address, "--port", "8000", "--routing-logic", "prefixaware")
    command = (str(binary), "-m", "vllm_router.app", *at, *found)
    await processes.start("production-stack", command, os.environ | {"PYTHONPATH": str(source)})
    await processes.answering(f"http://{place.address}:8000/health")
    return Target(place.address, 8000)


def _checkout() -> tuple[Path, Path]:
    """Its source folder and its requirements."""
    checkout = os.environ.get("PRODUCTION_STACK")
    if not checkout:
        raise ContenderError("it is in no package registry: set PRODUCTION_STACK to a checkout of its repository")
    source = Path(checkout).resolve() / "src"
    requirements = source / "vllm_router" / "requirements.txt"
    if not requirements.is_file():
        raise ContenderError(f"PRODUCTION_STACK: there is no {requirements}")
    return source, requirements


CONTENDERS: dict[str, Start] = {
    "direct": direct,
    "manta": manta,
    "vllm_router_round_robin": vllm_router("round_robin"),
    "vllm_router_cache_aware": vllm_router("cache_aware"),
    "production_stack": production_stack,
}


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The bin folder of a virtual environment under build/ with `requirements`. ContenderError if pip cannot."""
    folder = manta_router.ROOT / "build" / "bench" / "peers" / name
    done = folder / "installed"
    if done.is_file() and done.read_text(encoding="utf-8") == repr(requirements):
        return folder / "bin"
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for command in ((sys.executable, "-m", "venv", "--clear", str(folder)), (*pip, *requirements)):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise ContenderError(f"installing {name} took more than {_INSTALL_SECONDS} s") from error
        if ran.returncode != 0:
            raise ContenderError(f"{name} does not install here: {ran.stderr.strip().splitlines()[-1:]}")
    done.write_text(repr(requirements), encoding="utf-8")
    return folder / "bin"
