"""kopf's own reads and writes, through our session, from a server that misbehaves: none of it ends a watch."""

import asyncio
import contextlib
import logging

import aiohttp
import kopf
import pytest
from aiohttp import web
from kopf._cogs.clients import api, auth, fetching, watching
from kopf._cogs.structs.references import Resource

from manta_operator.controller import kopf_session
from manta_operator.controller.kopf_session import patiently
from manta_operator.controller.probes import Progress

RESOURCE = Resource("manta.dev", "v1alpha1", "llmdeployments", namespaced=True)
log = logging.getLogger(__name__)


def event(name, version):
    return (
        f'{{"type":"ADDED","object":{{"metadata":{{"name":"{name}","uid":"{name}","resourceVersion":"{version}"}}}}}}\n'
    )


class Server:
    """Answers requests in turn from a script of (status, body, headers); at its end a watch says nothing more."""

    def __init__(self):
        self.script, self.asked = [], []

    async def answer(self, request):
        self.asked.append("watch" if "watch" in request.query else request.method)
        if not self.script and "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})
        status, body, *more = self.script.pop(0) if self.script else (200, "", "hang")
        headers = {"Content-Type": "application/json"} | (more[0] if more and isinstance(more[0], dict) else {})
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(body.encode())
        if "hang" in more:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        if "cut" in more:
            request.transport.abort()
        return response


@pytest.fixture
async def server(monkeypatch):
    monkeypatch.setattr(kopf_session, "PAUSE_SECONDS", 0.01)
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(middlewares=(patiently,)) as session:
        vault = kopf_vault(url, session)
        token = auth.vault_var.set(vault)
        yield server
        auth.vault_var.reset(token)
    await runner.cleanup()


def kopf_vault(url, session):
    class Vault:
        async def extended(self, factory, purpose):
            yield "key", None, auth.APIContext(kopf.AiohttpSession(server=url, aiohttp_session=session))

    return Vault()


@pytest.fixture
def settings():
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = [0.01] * 20
    settings.watching.reconnect_backoff = 0.01
    return settings


async def seen(settings, count, seconds=3):
    """The names that kopf's endless watch delivers, until there are `count`."""
    names = []
    stream = watching.infinite_watch(settings=settings, resource=RESOURCE, namespace=None)
    async with asyncio.timeout(seconds):
        async with contextlib.aclosing(stream):
            async for each in stream:
                if isinstance(each, dict):
                    names.append(each["object"]["metadata"]["name"])
                if len(names) == count:
                    break
    return names


EMPTY = (200, '{"metadata":{"resourceVersion":"1"},"items":[]}')
MISHAPS = {
    "error 500": (200, '{"type":"ERROR","object":{"code":500,"message":"etcdserver: no leader"}}\n'),
    "error without a code": (200, '{"type":"ERROR","object":{}}\n'),
    "error 410": (200, '{"type":"ERROR","object":{"code":410}}\n'),
    "not JSON": (200, "<html>gateway</html>\n"),
    "no event": (200, '{"kind":"Status"}\n'),
    "no metadata": (200, '{"type":"ADDED","object":{}}\n'),
    "half a line": (200, '{"type":"ADDED","obj'),
    "cut in a line": (200, '{"type":"ADDED","obj', "cut"),
    "ended at once": (200, ""),
    "HTTP 410": (410, '{"kind":"Status","code":410}'),
    "HTTP 400": (400, '{"kind":"Status","code":400}'),
    "HTTP 404": (404, "404 page not found"),
    "HTTP 500": (500, '{"kind":"Status","code":500}'),
    "429 with a date": (429, "", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
}


@pytest.mark.parametrize("mishap", MISHAPS)
async def test_a_watch_goes_on_after(server, settings, mishap):
    server.script = [EMPTY, (200, event("a", 2)), MISHAPS[mishap]]
    again = [EMPTY] if mishap in {"error 500", "error without a code", "error 410", "not JSON", "no event"} else []
    again = again or ([EMPTY] if mishap in {"no metadata", "HTTP 410"} else [])
    server.script += [*again, (200, event("b", 3), "hang")]
    assert await seen(settings, 2) == ["a", "b"]
    assert server.asked == ["GET", "watch", "watch", *["GET" for _ in again], "watch"]


@pytest.mark.parametrize(
    "mishap",
    [
        (200, "<html>gateway</html>", {"Content-Type": "text/html"}),
        (200, '{"items": [', "cut"),
        (200, '{"items": ['),
        (500, '{"kind"', "cut"),
        (400, "no"),
        (401, "who?"),
        (404, "404 page not found"),
        (410, '{"kind":"Status","code":410}'),
    ],
    ids=["html", "cut", "half", "cut refusal", "400", "401", "404", "410"],
)
async def test_a_list_is_tried_again_after(server, settings, mishap):
    server.script = [mishap, EMPTY, (200, event("a", 2), "hang")]
    assert await seen(settings, 1) == ["a"]


async def test_a_list_whose_next_page_has_expired_begins_anew(server, settings):
    page = (200, '{"metadata":{"resourceVersion":"1","continue":"c"},"items":[]}')
    server.script = [page, (410, "{}"), EMPTY, (200, event("a", 2), "hang")]
    assert await seen(settings, 1) == ["a"]
    assert server.asked == ["GET", "GET", "GET", "watch"]


@pytest.mark.parametrize("status", [400, 401, 409, 413], ids=str)
async def test_a_finalizer_that_is_refused_is_tried_again(server, settings, status):
    server.script = [(status, '{"kind":"Status"}'), (200, '{"metadata":{}}')]
    assert await api.patch("/x", settings=settings, payload=[], logger=log) == {"metadata": {}}


@pytest.mark.parametrize("status", [404, 422], ids=str)
async def test_kopf_hears_what_it_understands(server, settings, status):
    server.script = [(status, '{"kind":"Status"}')]
    with pytest.raises(Exception, match="Status") as caught:
        await api.patch("/x", settings=settings, payload=[], logger=log)
    assert caught.value.status == status


async def test_a_long_list_arrives_whole(server, settings):
    items = ",".join(f'{{"metadata":{{"name":"n{n}"}}}}' for n in range(5000))
    server.script = [(200, f'{{"metadata":{{"resourceVersion":"1"}},"items":[{items}]}}')]
    pages = [
        page async for page, _ in fetching.fetch_objs(settings=settings, resource=RESOURCE, namespace=None, logger=log)
    ]
    assert len(pages[0]) == 5000


async def test_readyz_tells_that_llmdeployments_may_not_be_seen(server, settings, monkeypatch):
    known = Progress()
    known.waits = str
    monkeypatch.setattr(kopf_session, "progress", known)
    refused = (403, '{"kind":"Status","code":403,"message":"llmdeployments is forbidden"}')
    server.script = [refused, refused, EMPTY, (200, event("a", 2), "hang")]
    told = []
    blind = known.blind
    monkeypatch.setattr(known, "blind", lambda *each: (blind(*each), told.append(known.unready())))
    assert await seen(settings, 1) == ["a"]
    assert len(told) == 2
    assert "llmdeployments is forbidden" in told[0][0]
    assert known.unready() == ()
