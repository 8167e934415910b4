"""Serves the admission webhook over HTTPS: a review in, an answer out, within a second or so.

A fault of ours lets the write through with a warning, as an API server does that gets no answer (failurePolicy Ignore):
the operator judges the object anyway. Only what is no AdmissionReview at all is refused as a request.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiohttp import web

from manta_operator.api.printable import printable
from manta_operator.controller import metrics
from manta_operator.controller.webhook_reviews import NoReview, Review, answer_json, read_review
from manta_operator.planning.admission import WARNING_LIMIT, Answer, Evidence, is_news, judge, wanted

log = logging.getLogger(__name__)

PATH = "/validate"
LARGEST = 8 * 2**20
"""Bytes of a request: an API server takes objects of 3 MiB, and a review may hold two of them."""
_UNREADABLE = "this version of Manta's operator cannot read the spec"
AT_ONCE = 32
"""Reviews that are judged at a time; others wait for their turn, and their API servers not longer than they want to."""
Known = Callable[[Mapping[str, Any]], Awaitable[Evidence]]
"""Returns within a second what is known of the model of an LLMDeployment, of which it gets the body."""


@asynccontextmanager
async def serving(known: Known, context: ssl.SSLContext, host: str, port: int) -> AsyncIterator[int]:
    """Serve on one address; yields the port, for those who asked for port 0.

    Raises:
        OSError: the address is taken or not ours.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def validate(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _closing(web.Response(status=415, text=f"send application/json, not {request.content_type}\n"))
        try:
            review = read_review(json.loads(await request.read()))
        except NoReview as error:
            return _closing(web.Response(status=400, text=f"{error}\n"))
        except (ValueError, RecursionError):
            return _closing(web.Response(status=400, text="the body is no JSON\n"))
        async with turns:
            began = time.monotonic()
            answer = await _answer(review, known)
            metrics.reviewed(_outcome(answer), time.monotonic() - began)
        return _closing(web.json_response(answer_json(review, answer)))

    app = web.Application(client_max_size=LARGEST)
    app.add_routes([web.post(PATH, validate)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _answer(review: Review, known: Known) -> Answer:
    """Judge one write; never raises."""
    if review.new is None or not is_news(review.new, review.old):
        return Answer(True)
    try:
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
