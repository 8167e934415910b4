"""Reads what is sent to the webhook's port, where anybody may be: bounded in bytes, values and time, a few at once.

API servers do not say who they are, so that a stranger's body is read like theirs. What is too much is refused as a
request; an API server that gets such an answer lets the write go on, and the operator judges the object anyway.
"""

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError

LARGEST = 3 * 2**20 + 64 * 2**10
"""Bytes of a request: an object of more than 1.5 MiB is not stored (etcd's limit), and a review has two of them."""
MOST_VALUES = 2**16
"""Of a request, keys not counted: reading more takes the event loop longer than a tenth of a second."""
SMALL = 64 * 2**10
"""Bytes up to which a request is read at once: nearly all are so small."""
LARGE_AT_ONCE = 2
"""The others take turns; each has several times its bytes in memory for a moment."""
READ_SECONDS = 3.0
"""From the head of a request to its last byte, turns included; an API server waits no longer by default."""


class Bodies:
    """The bodies of one server's requests."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def read(self, request: web.Request) -> Any:
        """Return the JSON of a request.

        Raises:
            web.HTTPException: 400, 408, 413; it breaks off, is too slow, or too large.
            ValueError: it is no JSON.
            RecursionError: nobody nests so deep.
        """
        size = request.content_length
        if size is not None and size > LARGEST:
            raise web.HTTPRequestEntityTooLarge(LARGEST, size)
        small = size is not None and size <= SMALL
        try:
            async with asyncio.timeout(READ_SECONDS), contextlib.nullcontext() if small else self._large:
                body = await request.read()
                values = body.count(b",") + body.count(b"[") + body.count(b"{")
                if values > MOST_VALUES:
                    raise web.HTTPRequestEntityTooLarge(
                        MOST_VALUES, values, text=f"the body has more than {MOST_VALUES} values\n"
                    )
                return json.loads(body)
        except (ConnectionError, aiohttp.ClientPayloadError, web.RequestPayloadError, PayloadEncodingError) as error:
            raise web.HTTPBadRequest(text="the body breaks off\n") from error
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text=f"the body does not come within {READ_SECONDS:g} s\n") from error
