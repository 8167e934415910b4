"""The launcher's own HTTP server on the control port: probes, and the meeting place of the group.

GET /healthz, GET /readyz, GET /group, POST /group/join (head only, with the group's token), and what telling.py adds.
It judges nothing: it asks the pod it is given.
"""

from __future__ import annotations

import hmac
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from manta_runtime.engine.group import JoinRequest, Refusal, parse_join
from manta_runtime.engine.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from manta_runtime.engine.readiness import Verdict


class Pod(Protocol):
    """What the control server needs of a head or a worker."""

    def readiness(self) -> Verdict:
        """Return whether the pod is ready, and why."""

    def state(self) -> dict[str, Any]:
        """Return what GET /group tells."""

    def welcome(self, request: JoinRequest) -> Mapping[str, Any] | Refusal:
        """Answer a join."""


@asynccontextmanager
async def control_server(
    pod: Pod, host: str, port: int, token: str, routes: Iterable[web.RouteDef] = ()
) -> AsyncIterator[int]:
    """Serve the control port, and `routes` beside it, while the context is open; yields the port (for 0: which).

    Joins are accepted with the bearer token `token` only; with "" from nobody.

    Raises SettingsError when the address is taken or not this machine's.
    """
    application = _application(pod, token)
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror or error}. Is another launcher running there? "
                "Check --pod-ip and --control-port."
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _application(pod: Pod, token: str = "") -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        verdict = pod.readiness()
        return web.Response(status=200 if verdict.ready else 503, text=verdict.message + "\n")

    async def group(_: web.Request) -> web.Response:
        verdict = pod.readiness()
        return web.json_response({**pod.state(), "ready": verdict.ready, "message": verdict.message})

    async def join(request: web.Request) -> web.Response:
        if not _is_member(request.headers.get("Authorization", ""), token):
            return _refuse(Refusal(401, "the bearer token is not this group's: are both pods of one deployment?"))
        try:
            body = await request.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            body = None
        if not isinstance(body, dict):
            return _refuse(Refusal(400, "the body must be a JSON object"))
        parsed = parse_join(body)
        answer = parsed if isinstance(parsed, Refusal) else pod.welcome(parsed)
        return _refuse(answer) if isinstance(answer, Refusal) else web.json_response(dict(answer))

    application = web.Application(client_max_size=256 * 1024)
    application.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/group", group),
            web.post("/group/join", join),
        ]
    )
    return application


def _is_member(authorization: str, token: str) -> bool:
    # As bytes: compare_digest refuses text beyond ASCII, and headers may hold undecodable bytes.
    given = authorization.encode(errors="surrogateescape")
    return bool(token) and hmac.compare_digest(given, f"Bearer {token}".encode())


def _refuse(refusal: Refusal) -> web.Response:
    return web.json_response({"message": refusal.message}, status=refusal.status)
