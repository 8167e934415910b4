"""The requests in flight, as routers tell them: added up, or not known, whatever a router answers."""

from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from manta_operator.api import names
from manta_operator.controller.surroundings import loads

ROUTER = SimpleNamespace(address="127.0.0.1", deleting=False)


@pytest.fixture
async def told(monkeypatch):
    """Ask one router that answers this text."""
    application, answer = web.Application(), {}

    async def handle(_):
        return web.Response(**answer)

    async def elsewhere(_):
        return web.json_response({"demo-a-0": 3})

    application.router.add_get("/loads", handle)
    application.router.add_get("/elsewhere", elsewhere)
    async with TestServer(application) as server:
        monkeypatch.setattr(names, "PICKER_PORT", server.port)

        async def ask(**response):
            answer.update(response)
            return await loads([ROUTER])

        yield ask


async def test_the_loads_of_a_router_are_numbers_by_group(told):
    assert await told(text='{"demo-a-0": 3, "demo-a-1": 0}') == {"demo-a-0": 3, "demo-a-1": 0}


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a": Infinity}', '{"a": null}', "[]", "{", '{"a": 1}' + " " * 2**20],
    ids=["nested", "infinite", "null", "list", "half", "long"],
)
async def test_an_answer_that_makes_no_sense_is_none(told, text):
    assert await told(text=text) is None


async def test_a_redirection_is_not_followed(told):
    assert await told(status=302, headers={"Location": "/elsewhere"}) is None
