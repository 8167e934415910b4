"""The webhook's port is open to the cluster: who says nothing, or half of it, or too much, is in nobody's way."""

import asyncio
import json

import aiohttp
import pytest
from webhook_scene import llmdeployment, review, webhook

from manta_operator.controller import webhook_bodies, webhook_server
from manta_operator.planning.admission import Evidence

HEAD = b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def known(_):
    return Evidence()


async def half(post, size):
    """Open a connection that says how much it will send, and sends little of it."""
    reader, writer = await post.connect()
    writer.write(HEAD + f"Content-Length: {size}\r\n\r\n{{".encode())
    await writer.drain()
    return reader, writer


async def ended(reader):
    """Return what still comes until the other side closes the connection."""
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_half_a_body_has_an_end(monkeypatch):
    monkeypatch.setattr(webhook_bodies, "READ_SECONDS", 0.1)
    async with webhook(known) as post:
        reader, _ = await half(post, 1000)
        assert b" 408 " in await ended(reader)


@pytest.mark.parametrize("rest", [b"", b"no size of a chunk\r\n"], ids=["ends", "nonsense"])
async def test_a_body_that_breaks_off_is_no_fault_of_ours(rest, caplog):
    async with webhook(known) as post:
        reader, writer = await post.connect()
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n" + rest)
        await writer.drain()
        if not rest:
            writer.close()
        await ended(reader)
        assert (await post(review(llmdeployment())))[0] == 200
    assert [each.message for each in caplog.records if each.name.endswith((".http", "aiohttp.server"))] == []


async def test_who_says_nothing_has_to_go(monkeypatch):
    monkeypatch.setattr(webhook_server, "IDLE_SECONDS", 0.2)
    async with webhook(known) as post:
        reader, _ = await post.connect()
        assert await ended(reader) == b""
        reader, writer = await post.connect()
        writer.write(HEAD)  # and never the end of it
        assert await ended(reader) == b""


async def test_large_bodies_take_turns_and_reviews_of_a_usual_size_do_not_wait_for_them(monkeypatch):
    monkeypatch.setattr(webhook_bodies, "READ_SECONDS", 3600.0)
    async with webhook(known) as post:
        held = [await half(post, 10**6) for _ in range(webhook_bodies.LARGE_AT_ONCE)]
        large = asyncio.create_task(post(json.dumps(review(llmdeployment())) + " " * 10**6))
        async with asyncio.timeout(60):
            assert (await post(review(llmdeployment())))[0] == 200
        assert not large.done()
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(60):
            assert (await large)[0] == 200


async def test_connections_are_counted(monkeypatch):
    monkeypatch.setattr(webhook_server, "MOST_CONNECTIONS", 3)
    async with webhook(known) as post:
        held = [await half(post, 1000) for _ in range(3)]
        reader, _ = await post.connect()
        assert await ended(reader) == b""
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(60):
            while True:  # until the server has noticed
                try:
                    assert (await post(review(llmdeployment())))[0] == 200
                    break
                except (OSError, aiohttp.ClientError):
                    continue


async def test_who_is_idle_has_to_go_when_the_operator_ends():
    stop = asyncio.Event()
    async with webhook(known, stop) as post:
        reader, _ = await post.connect()
        stop.set()
        assert await ended(reader) == b""
