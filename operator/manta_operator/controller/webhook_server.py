"""Serves the admission webhook over HTTPS: a review in, an answer out, within a second or so.

A fault of ours lets the write through with a warning, as an API server does that gets no answer (failurePolicy Ignore):
the operator judges the object anyway. Only what is no AdmissionReview at all is refused as a request.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from manta_operator.api.printable import printable
from manta_operator.controller import metrics
from manta_operator.controller.webhook_bodies import LARGEST, Bodies
from manta_operator.controller.webhook_reviews import NoReview, Review, answer_json, read_review
from manta_operator.planning.admission import WARNING_LIMIT, Answer, Evidence, is_news, judge, wanted

log = logging.getLogger(__name__)
_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(lambda record: not isinstance((record.exc_info or (None, None))[1], HttpProcessingError))
"""Without what strangers say that is no HTTP, of which each would be a traceback."""

PATH = "/validate"
_UNREADABLE = "this version of Manta's operator cannot read the spec"
AT_ONCE = 32
"""Reviews that are judged at a time; others wait for their turn, and their API servers not longer than they want to."""
MOST_CONNECTIONS = 256
"""Whoever comes beyond them is sent away at once: each is closed after one answer, and API servers are few."""
IDLE_SECONDS = 5.0
"""How long a connection may take for its handshake, for the head of its request, and for its end."""
Known = Callable[[Mapping[str, Any]], Awaitable[Evidence]]
"""Returns within a second what is known of the model of an LLMDeployment, of which it gets the body."""


@asynccontextmanager
async def serving(
    known: Known, context: ssl.SSLContext, host: str, port: int, stop: asyncio.Event | None = None
) -> AsyncIterator[int]:
    """Serve on one address; yields the port, for those who asked for port 0.

    Args:
        known: What is known of a model.
        context: Has the certificate.
        host: Address to listen on.
        port: Port to listen on.
        stop: From then on nobody is let in, and who has not asked yet has to go.

    Raises:
        OSError: the address is taken or not ours.
    """
    app = web.Application(client_max_size=LARGEST)
    app.add_routes([web.post(PATH, _validate(known))])
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_http_log,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=1.0,
        shutdown_timeout=IDLE_SECONDS,
    )
    await runner.setup()
    try:
        server = await _listen(runner, context, host, port)
        ending = asyncio.create_task(_end(stop or asyncio.Event(), server, runner))
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            ending.cancel()
            server.close()
    finally:
        await runner.cleanup()


def _validate(known: Known) -> Callable[[web.Request], Awaitable[web.Response]]:
    turns, bodies = asyncio.Semaphore(AT_ONCE), Bodies()

    async def validate(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _closing(web.Response(status=415, text=f"send application/json, not {request.content_type}\n"))
        try:
            review = read_review(await bodies.read(request))
        except NoReview as error:
            return _closing(web.Response(status=400, text=f"{error}\n"))
        except web.HTTPException as error:
            return _closing(web.Response(status=error.status, text=error.text))
        except (ValueError, RecursionError):
            return _closing(web.Response(status=400, text="the body is no JSON\n"))
        async with turns:
            began = time.monotonic()
            answer = await _answer(review, known)
            metrics.reviewed(_outcome(answer), time.monotonic() - began)
        return _closing(web.json_response(answer_json(review, answer)))

    return validate


async def _listen(runner: web.AppRunner, context: ssl.SSLContext, host: str, port: int) -> asyncio.Server:
    """Listen without `web.TCPSite`, which sets no limits to handshakes and connections. Raises OSError."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")

    def connection() -> asyncio.Protocol:
        return server() if len(server.connections) < MOST_CONNECTIONS else _Full()

    return await asyncio.get_running_loop().create_server(
        connection,
        host,
        port,
        ssl=context,
        ssl_handshake_timeout=IDLE_SECONDS,
        ssl_shutdown_timeout=IDLE_SECONDS,
    )


class _Full(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _end(stop: asyncio.Event, server: asyncio.Server, runner: web.AppRunner) -> None:
    """Let nobody in any more once it is time, and close what is idle: kopf waits at its end for every connection."""
    await stop.wait()
    server.close()
    if runner.server:
        runner.server.pre_shutdown()


async def _answer(review: Review, known: Known) -> Answer:
    """Judge one write; never raises."""
    try:
        if review.new is None or not is_news(review.new, review.old):
            return Answer(True)
        about = wanted(review.new, review.namespace)
        if isinstance(about, str):
            return Answer(True, warnings=(printable(f"{_UNREADABLE}: {about}", WARNING_LIMIT),))
        body = {**review.new, "metadata": {"name": about.name, "namespace": about.namespace}}
        answer = judge(about, review.old, await known(body))
    except Exception:
        log.exception("a review failed, which is a bug; the write goes on")
        return Answer(True, warnings=("Manta's operator could not judge this spec: see its log",))
    if not answer.allowed:
        log.info("%s/%s: refused: %s", about.namespace, about.name, answer.message)
    return answer


def _closing(response: web.Response) -> web.Response:
    """Close the connection after it: kopf waits at its end for every task that began later, and that would be one."""
    response.force_close()
    return response


def _outcome(answer: Answer) -> Literal["allowed", "refused", "warned"]:
    return "refused" if not answer.allowed else "warned" if answer.warnings else "allowed"
