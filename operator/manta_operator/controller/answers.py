"""Reads what pods answer: containers of somebody else, which may say anything, at any length."""

import json
from typing import Any

import aiohttp


async def read_json(response: aiohttp.ClientResponse, limit: int) -> Any:
    """Return the JSON document of an answer, which may have `limit` bytes.

    Raises:
        ValueError: it is longer, of which no more is read than shows it, or it is no JSON.
        RecursionError: it is nested too deeply.
        aiohttp.ClientError: the connection broke.
    """
    return json.loads(await read_body(response, limit))


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body of an answer, which may have `limit` bytes; not every one says its length beforehand.

    Raises:
        ValueError: it is longer, of which no more is read than shows it.
        aiohttp.ClientError: the connection broke.
    """
    body = bytearray()
    while more := await response.content.read(limit + 1 - len(body)):
        body += more
        if len(body) > limit:
            raise ValueError(f"more than {limit} bytes")
    return bytes(body)
