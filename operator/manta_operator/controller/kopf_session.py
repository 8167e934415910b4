"""What stands between kopf and the API server: kopf ends the operator at answers that only need patience.

kopf (1.45, read in its source) tries again what looks like a lost connection, for as long as it is told to, and lists
again after an ERROR 410 of a watch. Everything else that it does not expect ends its task and the operator with it: any
other ERROR, a line or a body that is not JSON, a 4xx such as a webhook's 400 for the finalizer, a page that has
expired. So those look like one of the two to it. It also logs every attempt, which in an outage of hours says nothing
new.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
from msgspec import json

from manta_operator.api import names
from manta_operator.controller.probes import progress

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Before a watch that broke off at once, or said what nobody understands: kopf itself does not pause there."""
_LEFT_TO_KOPF = {"GET": {403, 429}, "PATCH": {403, 404, 422, 429}}
"""By method: what kopf understands or tries again by itself, beside every 5xx."""
_START_OVER = b'{"type":"ERROR","object":{"code":410}}\n'


async def patiently(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let kopf's requests fail only in ways that it tries again.

    Raises:
        aiohttp.ClientConnectionError: kopf shall send it again.
        aiohttp.ClientPayloadError: kopf shall begin the list anew.
    """
    what = f"{request.method} {request.url.path}"
    try:
        answer = await handler(request)
        if request.method == "GET" and request.url.path.endswith(f"/{names.PLURAL}"):
            await _note_sight(request.url.path, answer)
        if answer.status < 400 and "watch" in request.url.query:
            answer.content = cast("aiohttp.StreamReader", _Lines(answer.content, what))
            return answer
        await (answer.json() if answer.status < 400 else answer.read())  # kopf finds it in memory
    except (aiohttp.ClientError, ValueError) as error:
        raise aiohttp.ClientConnectionError(f"{what}: {error}") from error
    if answer.status == 410 and "watch" in request.url.query:
        answer.status, answer.content = 200, cast("aiohttp.StreamReader", _Lines(answer.content, what, _START_OVER))
    elif answer.status == 410 and "continue" in request.url.query:
        raise aiohttp.ClientPayloadError(f"{what}: the list has expired")
    elif not _understood(request.method, answer):
        raise aiohttp.ClientConnectionError(f"{what}: HTTP {answer.status}: {(await answer.text())[:300]}")
    return answer


async def _note_sight(path: str, answer: aiohttp.ClientResponse) -> None:
    """Tell `/readyz` whether LLMDeployments may be listed and watched: kopf itself only tries again."""
    if answer.status == 403:
        progress.blind(path, f"GET {path}: {(await answer.text())[:300]}")
    elif answer.status < 400:
        progress.sees(path)


def _understood(method: str, answer: aiohttp.ClientResponse) -> bool:
    if answer.status == 429 and not answer.headers.get("Retry-After", "0").replace(".", "").isdecimal():
        return False  # a date, which kopf reads as a number
    return answer.status < 400 or answer.status >= 500 or answer.status in _LEFT_TO_KOPF.get(method, ())


class _Lines:
    """The body of a watch: whole lines that kopf understands; in place of another one it is told to list again."""

    def __init__(self, content: aiohttp.StreamReader, what: str, first: bytes = b"") -> None:
        self._content, self._what, self._first = content, what, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield complete lines; what a cut connection leaves of one comes again with the next watch."""
        began, rest = time.monotonic(), self._first
        try:
            if self._first:
                await asyncio.sleep(PAUSE_SECONDS)
                yield self._first
                return
            async for chunk in self._content.iter_chunked(size):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    trouble = _trouble(line)
                    if trouble:
                        log.warning("%s: %s; listing again", self._what, trouble)
                        await asyncio.sleep(PAUSE_SECONDS)
                        yield _START_OVER
                        return
                    yield line + b"\n"
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            pass
        if time.monotonic() - began < PAUSE_SECONDS:
            await asyncio.sleep(PAUSE_SECONDS)


def _trouble(line: bytes) -> str:
    """Say what kopf would not understand in a line; empty: nothing."""
    if not line:
        return ""
    try:
        event = json.decode(line)
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            return "" if body.get("code") == 410 else f"ERROR {body.get('code')}: {body.get('message')}"
        return "" if isinstance(body["metadata"], dict) else "an event without metadata"
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"not an event: {line[:100]!r}"


class FirstAttempts(logging.Filter):
    """Keeps the first of kopf's attempts of a request in the log, as a warning, and drops those that follow."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is logged."""
        message = record.getMessage()
        if not message.startswith("Request attempt #"):
            return True
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return message.startswith(("Request attempt #1 ", "Request attempt #1/"))
