"""A router pod as the kubelet would run it, between a fake API server and fake engines; used by test_router_envoy.py.

Fake: the engines (aiohttp; a stream sends a chunk per permit) and the API server (lists and watches pods).
All on addresses that this process alone uses: two checkouts may be tested at once.
"""

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
from base64 import b64encode
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import trustme
import yaml
from aiohttp import web


def claim():
    """The first three octets of free addresses; the lock is a bound port, so the kernel releases it with us."""
    for number in range(1, 255):
        lock = socket.socket()
        try:
            lock.bind((f"127.5.{number}.254", 6443))
        except OSError:
            lock.close()
            continue
        lock.detach()  # held until this process ends
        return f"127.5.{number}"
    raise RuntimeError("254 test runs at once: no addresses are left")


NET = claim()
API, POD = f"{NET}.1", f"{NET}.2"
URL = f"http://{POD}:8000"
MAX_BODY = 4 << 20
ROOT = Path(__file__).parents[2]


class FakeEngine:
    """Answers with its name; a stream sends a chunk per `permits.release()`, a chunk count of 3."""

    def __init__(self, name, address):
        self.name, self.address = name, address
        self.permits = asyncio.Semaphore(0)
        self.hits = []
        self.running = 0

    async def start(self):
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.address, 8000, backlog=2048).start()  # as engines have it

    async def metrics(self, request):
        return web.Response(text=f'vllm:num_requests_running{{m="t"}} {self.running}.0\n')

    async def health(self, request):
        return web.Response()

    async def models(self, request):
        card = {"id": "t", "object": "model", "created": 1, "owned_by": "vllm", "root": "t", "parent": None}
        return web.json_response({"object": "list", "data": [card]})

    async def answer(self, request):
        self.hits.append(request.path)
        body = await request.json() if request.can_read_body else {}
        if not body.get("stream"):
            return web.json_response({"replica": self.name})
        self.running += 1
        try:
            response = web.StreamResponse()
            await response.prepare(request)
            for number in range(3):
                await self.permits.acquire()
                if self.name == "broken":
                    request.transport.abort()
                await response.write(f"data: {self.name} {number}\n\n".encode())
            return response
        finally:
            self.running -= 1

    async def stop(self):
        await self.runner.cleanup()


class Gated(FakeEngine):
    """Answers the oldest request when `finish` is called; `asked` has what each one sent as "user"."""

    def __init__(self, name, address):
        super().__init__(name, address)
        self.asked, self.gates = [], []

    async def answer(self, request):
        self.asked.append((await request.json()).get("user", ""))
        self.gates.append(gate := asyncio.get_running_loop().create_future())
        try:
            await gate
        finally:
            if gate in self.gates:
                self.gates.remove(gate)
        return web.json_response({"replica": self.name})

    def finish(self):
        self.gates.pop(0).set_result(None)


class FakeApiServer:
    """GET pods of one namespace: a list, or a watch from a resource version on, fed by `set` and `drop`."""

    def __init__(self):
        self.pods, self.version, self.watchers, self.lists = {}, 1, [], 0
        self.events = []
        self.gone = False
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority = trustme.CA()
        authority.issue_cert(API).configure_cert(self.tls)
        self.ca = b64encode(authority.cert_pem.bytes()).decode()

    async def start(self):
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/ns/pods", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, API, 6443, ssl_context=self.tls).start()

    async def stop(self):
        for queue in self.watchers:
            queue.put_nowait(None)
        await self.runner.cleanup()

    async def answer(self, request):
        assert request.headers["authorization"] == "Bearer secret"
        if "watch" not in request.query:
            self.lists += 1
            items = list(self.pods.values())
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        if self.gone:
            self.gone = False
            error = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
            await response.write(json.dumps(error).encode() + b"\n")
            return response
        self.watchers.append(queue := asyncio.Queue())
        for version, line in self.events:  # what happened between the list and this watch
            if version > int(request.query["resourceVersion"]):
                queue.put_nowait(line)
        while line := await queue.get():
            await response.write(line)
        return response

    def _emit(self, kind, pod):
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        line = json.dumps({"type": kind, "object": pod}).encode() + b"\n"
        self.events.append((self.version, line))
        for queue in self.watchers:
            queue.put_nowait(line)

    def set(self, name, address, ready=True, deleting=False):
        metadata = {"name": name, "labels": {"manta.dev/replica": "0"}}
        if deleting:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        pod = {"metadata": metadata, "status": {"podIP": address, "conditions": conditions}}
        self.pods[name] = pod
        self._emit("MODIFIED", pod)

    def drop(self, name):
        self._emit("DELETED", self.pods.pop(name))

    def clear(self):
        for name in list(self.pods):
            self.drop(name)


async def until(check, seconds=60):
    """Wait until `await check()` is true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - other processes have no events
            await asyncio.sleep(0.05)


@asynccontextmanager
async def inhabited(world):
    """Let the engines of a test's world serve; at its end its clients leave, and nobody waits any more."""
    async with AsyncExitStack() as stack:
        for engine in world.engines.values():
            await engine.start()
            stack.push_async_callback(engine.stop)
        yield world
        for client in world.clients:
            client.cancel()
        await asyncio.gather(*world.clients, return_exceptions=True)
        if world.router.picker.returncode is None:
            await world.nobody_waits()


class Router:
    """The two containers of a router pod, run as their commands would run them, after the Python code `prelude`."""

    def __init__(self, folder, session, ca, pod=POD, prelude="", **more):
        self.prelude = prelude
        self.folder, self.session, self.pod = folder, session, pod
        (folder / "run").mkdir()
        config = {"deployment": "t", "namespace": "ns", "servedNames": ["t", "alias"], "selector": "a=b"}
        config |= {"drainSeconds": 8, "maxBodyBytes": MAX_BODY, "hold": {"seconds": 2}, "policy": "least-load"}
        (folder / "router.yaml").write_text(yaml.safe_dump({**config, **more}))
        cluster = {"name": "c", "cluster": {"server": f"https://{API}:6443", "certificate-authority-data": ca}}
        user = {"name": "u", "user": {"token": "secret"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        kubeconfig = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x"}
        (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))

    async def run(self, part):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {"PATH": path, "PYTHONPATH": str(ROOT / "runtime"), "TMPDIR": str(self.folder)}
        env["KUBECONFIG"] = str(self.folder / "kubeconfig")
        code = f"{self.prelude}\nfrom manta_runtime.router.command import router; router()"
        args = [
            part,
            f"--config={self.folder / 'router.yaml'}",
            f"--pod-ip={self.pod}",
            f"--run-dir={self.folder / 'run'}",
        ]
        with (self.folder / f"{part}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, *args, env=env, stdout=log, stderr=log
            )

    async def start(self):
        self.envoy, self.picker = await asyncio.gather(self.run("envoy"), self.run("picker"))
        try:
            await self.wait()
        except TimeoutError as error:
            await self.stop()
            logs = [(self.folder / f"{part}.log").read_text()[-2000:] for part in ("envoy", "picker")]
            raise AssertionError("the router did not start:\n" + "\n".join(logs)) from error

    async def wait(self):
        await until(lambda: self.status("/healthz", 200))
        await until(lambda: self.status("/readyz", 200, f"http://{self.pod}:9002"))

    async def status(self, path, wanted, base=""):
        with suppress(aiohttp.ClientError):
            async with self.session.get((base or f"http://{self.pod}:8000") + path) as response:
                return response.status == wanted
        return False

    async def in_flight(self, replica, count):
        """Wait until the picker counts `count` requests at `replica`."""

        async def check():
            async with self.session.get(f"http://{self.pod}:9002/metrics") as response:
                return f'manta_router_in_flight{{replica="{replica}"}} {count}.0' in await response.text()

        await until(check)

    async def attempts(self, request):
        """How many replicas Envoy tried, by its access log."""
        found = []

        async def check():
            lines = (self.folder / "envoy.log").read_text().splitlines()
            found[:] = [json.loads(line) for line in lines if request in line and line.startswith("{")]
            return found

        await until(check)
        return found[0]["attempts"]

    async def usable(self, count):
        async def check():
            async with self.session.get(f"http://{self.pod}:9002/metrics") as response:
                return f"manta_router_replicas_usable {count}.0" in await response.text()

        await until(check)

    async def stop(self):
        for process in (self.envoy, self.picker):
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
        await asyncio.gather(self.envoy.wait(), self.picker.wait())
