"""Manta's router pod as a kubelet would run it: both containers' commands, and a pod list for the picker to watch.

With everything on that a user would have on: keys, limits, prefix affinity, holding, metrics, token counts and the
access log.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from aiohttp import web

from routers.backend import MODEL
from routers.client import Target
from routers.processes import Processes

ROOT = Path(__file__).resolve().parents[2]
_KEY = "manta-benchmark-key-of-no-value"
_RUN = "from manta_runtime.router.command import router; router()"


@asynccontextmanager
async def pods_api(address: str, backends: Sequence[str]) -> AsyncIterator[str]:
    """List and watch one ready pod for each backend, as an API server does; yields the URL."""
    items = [_pod(number, backend) for number, backend in enumerate(backends)]

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/api/v1/namespaces/bench/pods", answer)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, 6444).start()
        yield f"http://{address}:6444"
    finally:
        await runner.cleanup()


def _pod(number: int, address: str) -> dict[str, object]:
    labels = {"manta.dev/replica": str(number), "manta.dev/revision": "00000000"}
    metadata = {"name": f"bench-00000000-{number}-0", "labels": labels, "resourceVersion": "1"}
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": metadata, "status": status}


async def start(processes: Processes, folder: Path, address: str, api: str) -> Target:
    """Start Envoy and the picker on `address`; returns where to send requests."""
    _write(folder, api)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "PYTHONPATH": str(ROOT / "runtime"), "KUBECONFIG": str(folder / "kubeconfig")}
    arguments = (f"--config={folder / 'router.yaml'}", f"--pod-ip={address}", f"--run-dir={folder}")
    for part in ("picker", "envoy"):
        await processes.start(f"manta-{part}", (sys.executable, "-c", _RUN, part, *arguments), env)
    await processes.answering(f"http://{address}:9002/readyz")
    await processes.answering(f"http://{address}:8000/healthz")
    return Target(address, 8000, _KEY)


def _write(folder: Path, api: str) -> None:
    config = {
        "deployment": "bench",
        "namespace": "bench",
        "servedNames": [MODEL],
        "selector": "app=bench",
        "policy": "prefix",
        "auth": True,
        "keysDir": str(folder / "keys"),
        "tenantsFile": str(folder / "tenants.yaml"),
    }
    limits = {"requestsPerMinute": 10_000_000, "tokensPerMinute": 2_000_000_000, "concurrency": 10_000}
    kubeconfig = {
        "clusters": [{"name": "bench", "cluster": {"server": api}}],
        "users": [{"name": "bench", "user": {"token": "none"}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "keys" / "team").write_text(f"sha256:{hashlib.sha256(_KEY.encode()).hexdigest()}\n", encoding="utf-8")
    files = {
        "router.yaml": config,
        "tenants.yaml": {"tenants": [{"name": "team", **limits}]},
        "kubeconfig": kubeconfig,
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
