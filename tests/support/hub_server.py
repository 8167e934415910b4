"""A hub in the test's own loop, for the operator's reads of facts: one model, and any answer a test can think of."""

import json

import small_model
from aiohttp import web
from aiohttp.test_utils import TestServer

from manta_operator.controller.facts_http import session
from manta_operator.controller.facts_hub import Question, ask

COMMIT = "c0ffee" * 6 + "abcd"
CONFIG = small_model.CONFIG | {"torch_dtype": "bfloat16"}
INDEX = "model.safetensors.index.json"
BYTES = 2 * (2048 * 256 + 256 * 256)


class Hub:
    """A hub with one model, `org/model`, whose weights another host has; `answers` replaces what a path gets."""

    def __init__(self, files):
        self.files = {"config.json": json.dumps(CONFIG).encode()} | files
        self.answers, self.asked, self.sent, self.tokens_elsewhere = {}, [], 0, []

    async def __aenter__(self):
        application = web.Application()
        application.router.add_get("/org/model/resolve/{revision}/{path}", self._resolve)
        application.router.add_get("/cdn/{path}", self._cdn)
        self._server = TestServer(application)
        await self._server.start_server()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._client = session()
        return self

    async def __aexit__(self, *_):
        await self._client.close()
        await self._server.close()

    async def ask(self, token="", revision="main"):
        return await ask(self._client, Question("org/model", revision, self.url), token)

    async def _resolve(self, request):
        revision, path = request.match_info["revision"], request.match_info["path"]
        self.asked.append((revision, path, request.headers.get("Authorization")))
        if path in self.answers:
            return await self.answers[path](request)
        if path not in self.files:
            return web.Response(status=404)
        headers = {"X-Repo-Commit": COMMIT}
        if path.endswith(".safetensors"):
            there = f"http://localhost:{self._server.port}/cdn/{path}"
            return web.Response(status=302, headers=headers | {"Location": there})
        return web.Response(body=self.files[path], headers=headers)

    async def _cdn(self, request):
        self.tokens_elsewhere.append(request.headers.get("Authorization"))
        data = self.files[request.match_info["path"]]
        asked = request.http_range
        part = data[asked.start : asked.stop]
        self.sent += len(part)
        headers = {"Content-Range": f"bytes {asked.start}-{asked.start + len(part) - 1}/{len(data)}"}
        return web.Response(status=206, body=part, headers=headers)


def answering(status=200, body=b"", **headers):
    async def answer(_):
        return web.Response(status=status, body=body, headers=headers)

    return answer
