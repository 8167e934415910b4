"""The simulator's HTTP side: vLLM's endpoints, whole and streamed answers, refusals, and what a dying engine says."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from manta_runtime.engine.usage_header import headers_of
from manta_runtime.simulator import bodies
from manta_runtime.simulator.adapters import load_adapter, unload_adapter
from manta_runtime.simulator.answers import detokenize, tokenize
from manta_runtime.simulator.completions import CHAT, TEXT
from manta_runtime.simulator.embeddings import EMBEDDINGS
from manta_runtime.simulator.forms import Refused, missing, text, tokens
from manta_runtime.simulator.messages import MESSAGES
from manta_runtime.simulator.protocol import Asked, check_model, read_json, render_chat
from manta_runtime.simulator.responses import RESPONSES
from manta_runtime.simulator.speaking import Dialect, Telling, compact, complete

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from manta_runtime.simulator.engine import Engine
    from manta_runtime.simulator.settings import Settings

_PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"
_MAX_BODY = 64 << 20
_GENERATING = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": TEXT,
    "/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
}
_POOLING = {"/v1/embeddings": EMBEDDINGS}
_FULL = (
    "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
)


@dataclass
class Server:
    """Answers for one engine. `closing`: vLLM has been told to end and takes no more work."""

    settings: Settings
    engine: Engine
    journal: int | None = None
    closing: bool = False
    unanswered: int = 0
    started: int = 0

    def application(self) -> web.Application:
        """Return the routes."""
        self.started = int(time.time())
        application = web.Application(client_max_size=_MAX_BODY, middlewares=[self._refusals])
        get, post = application.router.add_get, application.router.add_post
        for path in ("/health", "/ping"):
            get(path, self._nothing)
        post("/ping", self._nothing)
        get("/version", self._json(lambda: {"version": bodies.VERSION}))
        get("/load", self._json(lambda: {"server_load": self.unanswered}))
        get("/v1/models", self._json(lambda: bodies.models(self.settings, self.started)))
        get("/metrics", self._metrics)
        post("/tokenize", self._tokenize)
        post("/detokenize", self._detokenize)
        if self.settings.runtime_adapters:
            post("/v1/load_lora_adapter", self._adapter_change(load_adapter))
            post("/v1/unload_lora_adapter", self._adapter_change(unload_adapter))
        for path, dialect in (_POOLING if self.settings.pooling else _GENERATING).items():
            post(path, self._generator(dialect))
        return application

    @web.middleware
    async def _refusals(self, request: web.Request, handler: Any) -> web.StreamResponse:
        expected = f"Bearer {self.settings.api_key}"
        if (
            self.settings.api_key
            and request.path.startswith("/v1")
            and request.headers.get("Authorization") != expected
        ):
            return _answer({"error": "Unauthorized"}, status=401)
        try:
            answer: web.StreamResponse = await handler(request)
        except Refused as refused:
            return _answer(refused.body, status=refused.status)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
            return _answer({"detail": error.reason}, status=error.status)
        return answer

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.Response()

    def _json(self, make: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(_: web.Request) -> web.Response:
            return _answer(make())

        return handler

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self.engine.metrics.render(), headers={"Content-Type": _PROMETHEUS})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = read_json(await request.read(), request.content_type)
        check_model(body, self.settings)
        if "messages" not in body and "prompt" not in body:
            raise missing(body, "prompt")
        prompt = render_chat(body["messages"]) if "messages" in body else text(body["prompt"], "body.prompt")
        found, limit = tokenize(prompt), self.settings.max_model_len
        return _answer({"count": len(found), "max_model_len": limit, "tokens": found, "token_strs": None})

    async def _detokenize(self, request: web.Request) -> web.Response:
        body = read_json(await request.read(), request.content_type)
        check_model(body, self.settings)
        if "tokens" not in body:
            raise missing(body, "tokens")
        try:
            prompt = detokenize(tokens(body["tokens"], "body.tokens"))
        except ValueError as error:
            raise Refused(400, str(error), "BadRequestError", None) from error
        return _answer({"prompt": prompt})

    def _adapter_change(
        self, change: Callable[[Mapping[str, Any], Settings], tuple[Settings, str]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            body = read_json(await request.read(), request.content_type)
            self.settings, words = change(body, self.settings)
            return web.Response(body=words.encode(), content_type="application/octet-stream")

        return handler

    def _generator(self, dialect: Dialect) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            self.unanswered += 1
            try:
                body = read_json(await request.read(), request.content_type)
                return await self._generate(request, dialect, body, dialect.read(body, self.settings))
            except Refused as refused:
                return _answer(dialect.refusal(refused.body), status=refused.status)
            finally:
                self.unanswered -= 1

        return handler

    async def _generate(
        self, request: web.Request, dialect: Dialect, body: Mapping[str, Any], asked: Asked
    ) -> web.StreamResponse:
        self._admit(asked)
        self._note(asked)
        jobs = [self.engine.submit(asked, prompt, n) for prompt in asked.prompts for n in range(asked.n)]
        identity = f"{dialect.prefix}{'_' if dialect.prefix == 'resp' else '-'}{secrets.token_hex(8)}"
        telling = Telling(self.settings, body, asked, jobs, identity, int(time.time()))
        try:
            if asked.stream:
                return await _stream(request, dialect.events(telling))
            await complete(jobs)
        finally:
            for job in jobs:
                self.engine.abandon(job)
        answer = _answer(dialect.whole(telling))
        if isinstance(answer.body, bytes):  # it always is
            answer.headers.update({name.decode(): value.decode() for name, value in headers_of(answer.body)})
        return answer

    def _admit(self, asked: Asked) -> None:
        """Raises Refused where vLLM takes no more work."""
        if self.closing:
            # What vLLM 0.32 answers once it has been told to end: its thread pool is closed.
            raise Refused(500, "cannot schedule new futures after shutdown", "InternalServerError", None)
        most = self.settings.most_requests
        if most is not None and self.engine.unfinished + len(asked.prompts) * asked.n > most:
            self.engine.metrics.rejected()
            raise Refused(503, _FULL, "Service Unavailable", None)

    def _note(self, asked: Asked) -> None:
        if self.journal is not None and asked.user:
            # One write, so that lines of several simulators in one file stay whole.
            os.write(self.journal, f"{asked.user}\n".encode())


async def _stream(request: web.Request, events: AsyncIterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    async for event in events:
        await response.write(event)
    return response


def _answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=compact(body).encode(), status=status, content_type="application/json")
