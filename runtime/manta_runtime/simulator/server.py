"""The simulator's HTTP side: vLLM's endpoints, whole and streamed answers, refusals, and what a dying engine says."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from manta_runtime.simulator import bodies
from manta_runtime.simulator.answers import detokenize, tokenize
from manta_runtime.simulator.forms import Refused, missing, text, tokens
from manta_runtime.simulator.protocol import Asked, Kind, check_model, parse, read_json, render_chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from manta_runtime.simulator.engine import Engine, Job
    from manta_runtime.simulator.settings import Settings

_PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"
_MAX_BODY = 64 << 20


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
        post("/v1/chat/completions", self._generator("chat"))
        post("/v1/completions", self._generator("completion"))
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

    def _generator(self, kind: Kind) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            self.unanswered += 1
            try:
                asked = parse(read_json(await request.read(), request.content_type), kind, self.settings)
                return await self._generate(request, asked)
            finally:
                self.unanswered -= 1

        return handler

    async def _generate(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        if self.closing:
            # What vLLM 0.32 answers once it has been told to end: its thread pool is closed.
            raise Refused(500, "cannot schedule new futures after shutdown", "InternalServerError", None)
        self._note(asked)
        jobs = [self.engine.submit(asked, prompt, n) for prompt in asked.prompts for n in range(asked.n)]
        prefix = "chatcmpl" if asked.kind == "chat" else "cmpl"
        identity, created = f"{prefix}-{secrets.token_hex(8)}", int(time.time())
        try:
            if asked.stream:
                start = bodies.chunk_head(asked.kind, identity, created, asked.model)
                return await self._stream(request, asked, jobs, start)
            for job in jobs:
                while not job.sequence.done:
                    job.grown.clear()
                    await job.grown.wait()
        finally:
            for job in jobs:
                self.engine.abandon(job)
        return _answer(_whole(asked, jobs, bodies.head(asked.kind, identity, created, asked.model)))

    async def _stream(
        self, request: web.Request, asked: Asked, jobs: list[Job], start: bodies.Json
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        async for chunk in _chunks(asked, jobs, start):
            await response.write(f"data: {_compact(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    def _note(self, asked: Asked) -> None:
        if self.journal is not None and asked.user:
            # One write, so that lines of several simulators in one file stay whole.
            os.write(self.journal, f"{asked.user}\n".encode())


def _compact(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))


def _answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=_compact(body).encode(), status=status, content_type="application/json")


def _whole(asked: Asked, jobs: list[Job], start: bodies.Json) -> bodies.Json:
    choices = [
        bodies.choice(asked.kind, index, job.answer.text, job.answer.finish_reason, job.answer.stop_reason)
        for index, job in enumerate(jobs)
    ]
    return bodies.whole(asked.kind, start, choices, bodies.usage(*_count(asked, jobs)))


async def _chunks(asked: Asked, jobs: list[Job], start: bodies.Json) -> AsyncIterator[bodies.Json]:
    if asked.kind == "chat":
        for index in range(len(jobs)):
            yield _with_usage(bodies.opening(start, index), asked, jobs)
    sent = [0] * len(jobs)
    while any(count < job.sequence.length for count, job in zip(sent, jobs, strict=True)):
        await _any_grown(jobs)
        for index, job in enumerate(jobs):
            have = job.sequence.generated
            if have > sent[index]:
                text = "".join(job.answer.pieces[sent[index] : have])
                ended = (job.answer.finish_reason, job.answer.stop_reason) if job.sequence.done else None
                sent[index] = have
                chunk = bodies.piece(asked.kind, start, index, text, ended)
                if ended and asked.kind == "chat" and not asked.usage:
                    chunk["system_fingerprint"] = bodies.FINGERPRINT
                yield _with_usage(chunk, asked, jobs)
    if asked.usage:
        yield bodies.final_usage(start, bodies.usage(*_count(asked, jobs), details=False))


def _with_usage(chunk: bodies.Json, asked: Asked, jobs: list[Job]) -> bodies.Json:
    if not asked.continuous_usage:
        return chunk
    counted = bodies.usage(*_count(asked, jobs), details=False) | {"completion_tokens_details": None}
    return chunk | {"usage": counted}


def _count(asked: Asked, jobs: list[Job]) -> tuple[int, int]:
    prompt = sum(job.sequence.prompt_tokens for job in jobs[:: asked.n])
    return prompt, sum(job.sequence.generated for job in jobs)


async def _any_grown(jobs: list[Job]) -> None:
    """Wait until one of the jobs has a token that was not there at the last call."""
    waiting = [job for job in jobs if not job.sequence.done or job.grown.is_set()]
    if len(waiting) == 1:
        await waiting[0].grown.wait()
    else:
        waits = [asyncio.ensure_future(job.grown.wait()) for job in waiting]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    for job in jobs:
        job.grown.clear()
